"""Keeps this process's lease alive from a thread, and brings news of its jobs.

A thread, since an event loop that is blocked must not look dead to the others.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from headrace.clock import thread_monotonic
from headrace.errors import LeaseLost, StoreError
from headrace.jobs import JobState
from headrace.ports import Pulse

LEASE_S = 30.0
"""How long a silent process keeps its items; docs/design.md, "Leases"."""
_RENEWALS = 5
_BEAT_S = 0.4
"""Cancels and pauses must arrive within 1 s."""
_MARGIN_S = 2.0
"""So long before the end of the lease no more calls start."""


class Heartbeat:
    """The lease of one owner, as its holder counts it: on its own monotonic clock.

    Args:
        pulse: the owner's own connection.
        lease_s: seconds a renewal lasts.
    """

    def __init__(self, pulse: Pulse, lease_s: float = LEASE_S) -> None:
        self._pulse = pulse
        self._lease_s = lease_s
        self._valid_until = thread_monotonic() + lease_s
        self._stopped = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._beaten = asyncio.Event()
        self.states: Mapping[int, JobState] = {}
        """State of each job in which items are held, as of the last beat."""
        self.error: Exception | None = None
        """Why the lease cannot be relied on any more."""

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def may_start(self) -> bool:
        """May a call be started under this lease?"""
        return thread_monotonic() < self._valid_until - _MARGIN_S

    async def wait_beat(self) -> None:
        """Wait for the next news.

        Raises:
            LeaseLost: somebody else may own our items now.
            StoreError: the database changed under us.
        """
        self._beaten.clear()
        await self._beaten.wait()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        """Stop beating and close the connection; idempotent."""
        self._stopped.set()
        await self._loop.run_in_executor(None, self._thread.join, 5.0)

    def _beat(self) -> None:
        renewed_at = thread_monotonic()
        try:
            while not self._stopped.wait(_BEAT_S):
                now = thread_monotonic()
                try:
                    if now - renewed_at >= self._lease_s / _RENEWALS:
                        self._renew(now)
                        renewed_at = now
                    states = self._pulse.states()
                except StoreError as error:
                    if now >= self._valid_until:
                        self._tell({}, error)
                        return
                    continue
                except LeaseLost as error:
                    self._tell({}, error)
                    return
                self._tell(states, None)
        finally:
            self._pulse.close()

    def _renew(self, asked_at: float) -> None:
        """Renew; the lease counts from before the request was made."""
        if not self._pulse.renew():
            raise LeaseLost("this process was silent too long and lost its items")
        self._valid_until = asked_at + self._lease_s

    def _tell(self, states: Mapping[int, JobState], error: Exception | None) -> None:
        if not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._hear, states, error)

    def _hear(self, states: Mapping[int, JobState], error: Exception | None) -> None:
        self.states = states
        self.error = error
        self._beaten.set()
