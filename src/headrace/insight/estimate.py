"""How long calls will take and what they will cost, before the first is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from headrace.model import Cost
from headrace.policies.budget import Tariff


class Road(msgspec.Struct, frozen=True):
    """What one endpoint lets through; None = no limit is known.

    Args:
        in_flight: calls at the same moment, >= 1.
        calls_per_minute: > 0.
        tokens_per_minute: > 0.
    """

    in_flight: int
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Estimate(msgspec.Struct, frozen=True):
    """What is to be expected.

    Args:
        seconds: from the start to the last answer; None where no latency is known.
        calls_per_s: how many start; None likewise.
        bound: what holds them back most: `in_flight`, `calls_per_minute` or
            `tokens_per_minute`.
        usd: what they cost; None if no price is known.
    """

    seconds: float | None
    calls_per_s: float | None
    bound: str
    usd: float | None


def estimate(
    calls: int,
    ahead: int,
    cost: Cost,
    latency_s: float | None,
    roads: Sequence[Road],
    tariff: Tariff | None,
) -> Estimate:
    """Return what so many equal calls take, if all goes as it has gone before.

    Args:
        calls: >= 1.
        ahead: others that wait before them, >= 0, thought to be alike.
        cost: tokens of one call.
        latency_s: seconds of one call, > 0; None = nobody knows.
        roads: where they may go, at least one.
        tariff: what tokens cost; None = no price is known.
    """
    usd = None
    if tariff is not None:
        usd = tariff.price(cost.input_tokens, cost.output_tokens) * calls / 1e9
    rates = [_rates(road, cost.tokens, latency_s) for road in roads]
    per_s = sum(min(each.values()) for each in rates)
    widest = max(rates, key=lambda each: min(each.values()))
    bound = min(widest, key=lambda name: widest[name])
    if not math.isfinite(per_s):
        return Estimate(None, None, "in_flight", usd)
    seconds = (calls + ahead) / per_s + (latency_s or 0.0)
    return Estimate(round(seconds, 3), round(per_s, 6), bound, usd)


def _rates(road: Road, tokens: int, latency_s: float | None) -> dict[str, float]:
    """Return how many calls a second each limit lets start."""
    calls, taken = road.calls_per_minute, road.tokens_per_minute
    return {
        "in_flight": road.in_flight / latency_s if latency_s else math.inf,
        "calls_per_minute": math.inf if calls is None else calls / 60.0,
        "tokens_per_minute": math.inf
        if taken is None or not tokens
        else taken / 60.0 / tokens,
    }
