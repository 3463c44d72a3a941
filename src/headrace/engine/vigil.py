"""Watches whether the upstream answers at all, and gives up for everybody at once."""

from __future__ import annotations

import asyncio

import msgspec

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

ACCOUNT = frozenset({ErrorCode.UNAUTHORISED, ErrorCode.QUOTA_SPENT})
"""Errors that pass when a person has mended something, not by themselves."""

_ANSWERED = frozenset({ErrorCode.BAD_CALL, ErrorCode.BAD_REPLY})
"""Errors that show a reachable endpoint which takes our key."""

_RECHECK_S = 0.25
_ACCOUNT_S = 60.0
"""So long no other error may have come before the account counts as the cause."""


class Patience(msgspec.Struct, frozen=True):
    """How long to wait for an upstream that does not answer.

    Args:
        first_answer_s: for the first answer of all.
        known_s: how long a known upstream may be down.
        models_are_items: is an unknown model always the item's own fault?
        advice: what a person may do, told with the reason.
    """

    first_answer_s: float = 10.0
    known_s: float = 900.0
    models_are_items: bool = False
    advice: str = "run the same command again to go on"


SERVED_PATIENCE = Patience(
    known_s=60.0,
    models_are_items=True,
    advice="the job goes on when it is resumed, when the key has been changed and the "
    "service was told, or when the service starts again",
)
"""For routes that are served for ever: what they are asked for differs from job to job."""


class Vigil:
    """Tells the fault of one item from the fault of the whole upstream.

    Until the first answer, errors that would meet every call are nobody's outcome: the
    item waits and is tried again. Without any answer some time after the first such
    error, or after the last answer while calls fail, it gives up.

    Args:
        clock: time.
        patience: how long that is.
    """

    def __init__(self, clock: Clock, patience: Patience = Patience()) -> None:
        self._clock = clock
        self._patience = patience
        self._answered = _ANSWERED
        if patience.models_are_items:
            self._answered |= {ErrorCode.UNKNOWN_MODEL}
        self.answers = 0
        """Calls answered so far, whatever the answer."""
        self.held: set[str] = set()
        """Ids of the calls that wait because the failure may be the upstream's."""
        self._other_at: float | None = None
        self._failing_since: float | None = None
        self._suspect_since: float | None = None
        self._last: CallError | None = None
        self._endpoint = ""
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Begin anew, as if nothing had been called yet."""
        self.answers = 0
        self._failing_since = self._suspect_since = self._other_at = None

    def answered(self) -> None:
        """A call was answered: the upstream is up."""
        self.answers += 1
        self._failing_since = self._suspect_since = None

    def failed(self, error: CallError, endpoint: str) -> None:
        """Take note of a failed call."""
        if error.code in self._answered:
            self.answered()
            return
        now = self._clock.monotonic()
        self._last, self._endpoint = error, endpoint
        if error.code not in ACCOUNT:
            self._other_at = now
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
        if error.code in self._answered:
            return False
        if error.code is ErrorCode.UNKNOWN_MODEL and self.answers:
            return False
        return answers_before is None or answers_before == self.answers

    @property
    def blames_account(self) -> bool:
        """Are calls refused for a reason that does not pass by itself?"""
        if self._last is None or self._last.code not in ACCOUNT:
            return False
        other_at = self._other_at
        return other_at is None or self._clock.monotonic() - other_at > _ACCOUNT_S

    async def wait_other(self) -> None:
        """Wait until it answers again, or fails because of the account alone."""
        while self._failing_since is not None and not self.blames_account:
            await self._clock.sleep(_RECHECK_S)

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
            return self._suspect_since + self._patience.first_answer_s - now
        if self._failing_since is not None:
            return self._failing_since + self._patience.known_s - now
        return None

    def _reason(self) -> UpstreamDown:
        last = self._last
        assert last is not None
        patience = self._patience
        waited_s = patience.known_s if self.answers else patience.first_answer_s
        return UpstreamDown(
            f"no endpoint answered for {waited_s:g} s; the last error, from "
            f"{self._endpoint or 'the endpoint'}: {last.message} ({last.code}). "
            f"Nothing was recorded as failed; {patience.advice}"
        )
