"""How much is asked for with each key: by the policies that limit endpoints, too."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from headrace.model import Limits
from headrace.policies.rate import RateLimit, build_rate
from headrace.service.errors import ApiError
from headrace.service.principal import KeyLimits, Principal

_MOST_METERS = 10_000
_BUSY_S = 1


class _Meter(msgspec.Struct, eq=False):
    limits: KeyLimits
    calls: RateLimit
    tokens: RateLimit
    in_flight: int = 0


class KeyMeters:
    """What keys have asked for lately; of this process.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._meters: dict[str, _Meter] = {}

    def count_request(self, who: Principal) -> None:
        """Count one request.

        Raises:
            ApiError: 429; its key asks too often.
        """
        if who.limits.calls_per_minute is None:
            return
        meter = self._meter(who)
        meter.calls = self._taken(meter.calls, 0, "calls_per_minute", who)

    def take_tokens(self, who: Principal, tokens: int) -> None:
        """Count the tokens of a call that is about to be made.

        Raises:
            ApiError: 429; too many within a minute, or more than ever fit in one.
        """
        if who.limits.tokens_per_minute is None:
            return
        meter = self._meter(who)
        meter.tokens = self._taken(meter.tokens, tokens, "tokens_per_minute", who)

    def enter(self, who: Principal) -> Callable[[], None]:
        """Begin a call; return what ends it, to be called once.

        Raises:
            ApiError: 429; as many calls of its key are under way as may.
        """
        most = who.limits.in_flight
        if most is None:
            return _nothing
        meter = self._meter(who)
        if meter.in_flight >= most:
            raise _refusal("in_flight", most, _BUSY_S)
        meter.in_flight += 1

        def leave() -> None:
            meter.in_flight -= 1

        return leave

    def _taken(
        self, rate: RateLimit, tokens: int, name: str, who: Principal
    ) -> RateLimit:
        now = self._now()
        costs = rate.costs(tokens)
        at = rate.earliest(now, costs)
        limit = getattr(who.limits, name)
        if rate.fits(costs) is not None:
            raise ApiError(
                429,
                f"this call may take {tokens} tokens, allowed with this key are "
                f"{limit:g} a minute",
                code="key_limit",
                param=name,
                headers={"x-should-retry": "false"},
            )
        if at > now:
            raise _refusal(name, limit, math.ceil(at - now))
        return rate.reserve(now, costs)[0]

    def _meter(self, who: Principal) -> _Meter:
        meter = self._meters.get(who.key_id)
        if meter is None or meter.limits != who.limits:
            if len(self._meters) >= _MOST_METERS:
                self._meters = {
                    id: each for id, each in self._meters.items() if each.in_flight
                }
            limits = who.limits
            meter = self._meters[who.key_id] = _Meter(
                limits,
                build_rate(Limits(calls_per_minute=limits.calls_per_minute)),
                build_rate(Limits(tokens_per_minute=limits.tokens_per_minute)),
            )
        return meter


def _refusal(name: str, limit: float, retry_after_s: int) -> ApiError:
    return ApiError(
        429,
        f"{name}: this key may have {limit:g}; try again in {retry_after_s} s",
        code="key_limit",
        param=name,
        headers={"retry-after": str(max(1, retry_after_s))},
    )


def _nothing() -> None:
    pass
