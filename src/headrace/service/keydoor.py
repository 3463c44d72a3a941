"""What is asked for with each key at the service's door, and how it is refused there."""

from __future__ import annotations

import math
from collections.abc import Callable

from headrace.clock import Clock
from headrace.engine.keyed import Keyed
from headrace.engine.keymeters import Full, KeyMeters
from headrace.service.errors import QUOTA, ApiError
from headrace.service.principal import Principal
from headrace.terms import KeyLimits


class Door:
    """Counts requests and calls of keys; of this process.

    Requests of any kind are counted apart from calls, by the same number: who looks how
    his batch stands is not held up by its items.

    Args:
        keyed: where calls and items are counted.
        clock: time.
    """

    def __init__(self, keyed: Keyed, clock: Clock) -> None:
        self._keyed = keyed
        self._requests = KeyMeters(clock)

    def count_request(self, who: Principal) -> None:
        """Count one request.

        Raises:
            ApiError: 429; its key asks too often.
        """
        calls = who.terms.limits.calls_per_minute
        if calls is None:
            return
        limits = KeyLimits(calls_per_minute=calls)
        found = self._requests.try_enter(who.key_id, limits, 0)
        if isinstance(found, Full):
            raise _refusal(found, limits)
        found()

    def enter(self, who: Principal, tokens: Callable[[], int]) -> Callable[[], None]:
        """Begin a call; return what ends it, to be called once.

        Args:
            who: asks.
            tokens: estimates those of the call; asked only if they are limited.

        Raises:
            ApiError: 429; as much of its key is under way as may, or more was within a
                minute, or the call takes more than ever fits in one.
        """
        terms = who.terms
        if who.key_id:
            self._keyed.know(who.key_id, terms)
        if terms.limits == KeyLimits():
            return _nothing
        count = 0 if terms.limits.tokens_per_minute is None else tokens()
        found = self._keyed.meters.try_enter(who.key_id, terms.limits, count)
        if isinstance(found, Full):
            raise _refusal(found, terms.limits, count)
        return found

    def under_way(self, key_id: str) -> tuple[int, int]:
        """Return how many calls and items of a key run, and how many items wait for it."""
        return self._keyed.meters.under_way(key_id)

    async def expect_money(self, who: Principal) -> None:
        """Refuse new work of a key that has nothing left to spend.

        Raises:
            ApiError: 429, `insufficient_quota`.
        """
        budget = who.terms.budget
        if budget is None:
            return
        if await self._keyed.purses.is_spent(who.key_id, budget):
            raise quota_spent(
                f"the budget of key {who.key_id}, {budget.usd:f} USD, is spent"
            )


def quota_spent(message: str) -> ApiError:
    """Return the refusal of what no money is left for, as OpenAI says it."""
    headers = {"x-should-retry": "false"}
    return ApiError(429, message, code=QUOTA, headers=headers)


def _refusal(full: Full, limits: KeyLimits, tokens: int = 0) -> ApiError:
    most = getattr(limits, full.limit)
    if full.wait_s == math.inf:
        message = (
            f"this call may take {tokens} tokens, allowed with this key are {most:g} a "
            "minute"
        )
        headers = {"x-should-retry": "false"}
    else:
        wait_s = max(1, math.ceil(full.wait_s))
        message = f"{full.limit}: this key may have {most:g}; try again in {wait_s} s"
        headers = {"retry-after": str(wait_s)}
    return ApiError(429, message, code="key_limit", param=full.limit, headers=headers)


def _nothing() -> None:
    pass
