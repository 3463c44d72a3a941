"""What a strategy is asked, about which endpoints, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

_NO_TIERS: Mapping[int, float] = MappingProxyType({})


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that is healthy and may take a call now."""

    index: int
    """Grows with each endpoint added; never used twice."""
    name: str
    in_flight: int
    limit: int
    """Calls that may be in flight there, above `in_flight`."""
    rate_headroom: float = 1.0
    """Least share of its rate limits that is left, 0 to 1."""
    weight: float = 1.0
    """As configured, less while it warms up; above 0."""
    latency_s: float = 0.0
    """Peak of the durations of its recent calls; 0.0 = unknown."""
    is_learnt: bool = False
    """Is `limit` only what was found so far?"""
    success_share: float = 1.0
    """Of its recent calls, 0 to 1."""
    tier: int = 0


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a choice may depend on beside the endpoints."""

    u: float = 0.0
    """Uniform in [0, 1)."""
    affinity: str = ""
    """Calls with the same one go to the same endpoint, if it is not overloaded."""
    tiers: Mapping[int, float] = _NO_TIERS
    """Healthy share of each tier, 0 to 1."""


class Balancer(Protocol):
    """A strategy; a frozen value."""

    @property
    def needs_tiers(self) -> bool:
        """Does it look at `Ask.tiers`?"""
        ...

    @property
    def prefers_fast(self) -> bool:
        """May a free endpoint be left idle because it is far slower than the others?"""
        ...

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        """Choose one of the candidates, in a stable order; there may be none.

        Returns:
            The next version, and the place of the one chosen in `candidates`; None if
            the call should rather wait.

        Invariants: equals take turns; whoever stays eligible is chosen at some time.
        """
        ...
