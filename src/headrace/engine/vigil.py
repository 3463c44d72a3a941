"""Watches whether the upstream answers at all, and gives up for everybody at once."""

from __future__ import annotations

import asyncio

from headrace.clock import Clock
from headrace.errors import CallError, ErrorCode, UpstreamDown

SUSPECT = frozenset(
    {
        ErrorCode.CONNECT_FAILED,
        ErrorCode.UNAUTHORISED,
        ErrorCode.QUOTA_SPENT,
        ErrorCode.UNKNOWN_MODEL,
    }
)
"""Errors that would meet every call alike: rather stop than fail 500,000 items."""

_ANSWERED = frozenset({ErrorCode.BAD_CALL, ErrorCode.BAD_REPLY})
"""Errors that show a reachable endpoint which takes our key."""

_RECHECK_S = 0.25


class Vigil:
    """Tells the fault of one item from the fault of the whole upstream.

    Until the first answer, errors that would meet every call are nobody's outcome: the
    item waits and is tried again. Without any answer `first_answer_s` after the first
    such error, or `patience_s` after the last answer while calls fail, it gives up.

    Args:
        clock: time.
        first_answer_s: how long to wait for the first answer of all, 10 s.
        patience_s: how long a known upstream may be down.
    """

    def __init__(
        self, clock: Clock, first_answer_s: float = 10.0, patience_s: float = 900.0
    ) -> None:
        self._clock = clock
        self._first_answer_s = first_answer_s
        self._patience_s = patience_s
        self.answers = 0
        """Calls answered so far, whatever the answer."""
        self._failing_since: float | None = None
        self._suspect_since: float | None = None
        self._last: CallError | None = None
        self._endpoint = ""
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Begin anew, as if nothing had been called yet."""
        self.answers = 0
        self._failing_since = self._suspect_since = None

    def answered(self) -> None:
        """A call was answered: the upstream is up."""
        self.answers += 1
        self._failing_since = self._suspect_since = None

    def failed(self, error: CallError, endpoint: str) -> None:
        """Take note of a failed call."""
        if error.code in _ANSWERED:
            self.answered()
            return
        now = self._clock.monotonic()
        self._last, self._endpoint = error, endpoint
        if self._failing_since is None:
            self._failing_since = now
            self._changed.set()
        if error.code in SUSPECT and self._suspect_since is None:
            self._suspect_since = now
            self._changed.set()

    def holds(self, error: CallError, answers_before: int | None) -> bool:
        """Return whether this failure may be the upstream's and not the item's.

        Args:
            error: what the item met.
            answers_before: `answers` when the same item last met such an error; None
                the first time. If others were answered in between, it is the item.
        """
        if error.code not in SUSPECT:
            return False
        if error.code is ErrorCode.UNKNOWN_MODEL and self.answers:
            return False
        return answers_before is None or answers_before == self.answers

    async def wait_down(self) -> UpstreamDown:
        """Wait until the upstream counts as down; return why."""
        while True:
            left_s = self._left_s()
            if left_s is None:
                self._changed.clear()
                await self._changed.wait()
            elif left_s > 0:
                await self._clock.sleep(min(left_s, max(_RECHECK_S, left_s / 2)))
            else:
                return self._reason()

    def _left_s(self) -> float | None:
        """Seconds until we give up, as things stand; None while all is well."""
        now = self._clock.monotonic()
        if not self.answers and self._suspect_since is not None:
            return self._suspect_since + self._first_answer_s - now
        if self._failing_since is not None:
            return self._failing_since + self._patience_s - now
        return None

    def _reason(self) -> UpstreamDown:
        last = self._last
        assert last is not None
        waited_s = self._patience_s if self.answers else self._first_answer_s
        return UpstreamDown(
            f"no endpoint answered for {waited_s:g} s; the last error, from "
            f"{self._endpoint or 'the endpoint'}: {last.message} ({last.code}). "
            "Nothing was recorded as failed; run the same command again to go on"
        )
