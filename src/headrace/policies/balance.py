"""Which of several endpoints gets the next call."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

STRATEGIES = (
    "headroom",
    "least_connections",
    "round_robin",
    "weighted_round_robin",
    "random",
    "health_aware",
    "p2c_ewma",
    "priority",
    "sticky",
)
"""How one of several endpoints may be chosen; docs/design.md, "Endpoints"."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that is healthy and may take a call now."""

    index: int
    """The caller's own number of the endpoint."""
    in_flight: int
    limit: int
    """Calls that may be in flight there, >= 1."""
    rate_headroom: float
    """Least share of its rate limits that is left, 0 to 1."""
    weight: float


def choose_headroom(candidates: Sequence[Candidate], turn: int) -> int | None:
    """Choose the endpoint with the most room, counted by its tightest limit.

    Args:
        candidates: healthy endpoints, in a stable order; may be empty.
        turn: grows by one each time, so that equals take turns.

    Returns:
        `Candidate.index` of the one chosen; None if none has a free slot.

    Source: algorithm notes of this project, section 5: weight x the least of
    remaining / limit over all dimensions; with few endpoints all are looked at.
    """
    best: list[int] = []
    best_score = -1.0
    for candidate in candidates:
        free = candidate.limit - candidate.in_flight
        if free <= 0:
            continue
        share = free / candidate.limit
        if candidate.rate_headroom < share:
            share = candidate.rate_headroom
        score = candidate.weight * share
        if score > best_score:
            best, best_score = [candidate.index], score
        elif score == best_score:
            best.append(candidate.index)
    return best[turn % len(best)] if best else None
