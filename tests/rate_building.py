"""Builds and moves rate limits, for tests of what holds while they move."""

from __future__ import annotations

from headrace.model import Limits
from headrace.policies.rate import RateLimit, build_rate


def moved(rate: RateLimit, now: float, limits: Limits) -> RateLimit:
    """Return `rate` with each of its dimensions moved to what `limits` states."""
    wanted = build_rate(limits).dims
    return rate.revised(
        tuple(d.move(now, w.stated) for d, w in zip(rate.dims, wanted, strict=True))
    )
