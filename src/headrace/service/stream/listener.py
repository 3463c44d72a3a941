"""One client that listens: what it has yet to be told, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace.errors import HeadraceError
from headrace.service.stream.views import View

MAX_WAITING = 256
"""Jobs of which a client may have news to come; of one job only the newest is kept."""
MAX_ENDS = 10_000
"""Ends that may wait for a client beyond that; then it must come again."""


class TooSlow(HeadraceError):
    """More ends wait for a client than are kept; it gets them all by coming again."""


class Listener:
    """What one client has yet to be told.

    Of each job or batch the newest view waits, so a slow client gets fewer of them. That
    one has ended is never dropped, nor replaced by anything older.

    Invariant: at most `MAX_WAITING` views that are no ends wait, and `MAX_ENDS` others.
    """

    def __init__(self, tenant: str | None = None) -> None:
        self.tenant = tenant
        """Whose jobs it may see; None = all."""
        self.coalesced = 0
        """Views that a newer one of the same job has replaced."""
        self.dropped = 0
        """Views that were given up since too many waited."""
        self._views: dict[str, View] = {}
        self._ends: dict[str, View] = {}
        self._bell = asyncio.Event()
        self._is_over = False
        self._is_too_slow = False

    def offer(self, view: View) -> None:
        """Tell of a view, in place of older ones of the same job; never waits."""
        if self._views.pop(view.id, None) is not None:
            self.coalesced += 1
        if view.has_ended:
            self._ends[view.id] = view
            if len(self._ends) > MAX_ENDS:
                self._is_too_slow = True
        else:
            if len(self._views) >= MAX_WAITING:
                del self._views[next(iter(self._views))]
                self.dropped += 1
            self._views[view.id] = view
        self._bell.set()

    def end(self) -> None:
        """Nothing more is to come."""
        self._is_over = True
        self._bell.set()

    async def take(self, timeout_s: float) -> Sequence[View] | None:
        """Wait for news and take all of it, in the order of the last changes.

        Args:
            timeout_s: the longest wait, > 0.

        Returns:
            The views, empty if none came in time; None if nothing more is to come.

        Raises:
            TooSlow: too many ends wait.
        """
        # A timer, not `asyncio.timeout`: a thousand listeners wait here twice a second.
        timer = asyncio.get_running_loop().call_later(timeout_s, self._bell.set)
        try:
            await self._bell.wait()
        finally:
            timer.cancel()
        if self._is_too_slow:
            raise TooSlow("the client reads too slowly; come again for all there is")
        if not self._ends and not self._views and self._is_over:
            return None
        if not self._is_over:
            self._bell.clear()
        ends, views = self._ends, self._views
        self._ends, self._views = {}, {}
        # A job that was retried has an end and a newer view: the end goes first.
        return [*ends.values(), *views.values()]
