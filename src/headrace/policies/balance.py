"""Which of several endpoints gets the next call: one small frozen value a strategy.

All of them are asked by `choose`, with the endpoints that may start the call now; each
returns its next version and its choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import ClassVar

import msgspec

from headrace.errors import ConfigError
from headrace.policies.choosing import Ask, Balancer, Candidate

_MANY = 32
"""With more endpoints two are drawn instead of looking at all.

Source: algorithm notes of this project, section 5; Mitzenmacher 2001.
"""
_BOUND = 1.25
"""An endpoint is passed over with more than 1.25 times its share of the calls.

Source: Mirrokni, Thorup, Zadimoghaddam 2018, consistent hashing with bounded loads.
"""
_TOLERANCE = 2.0
"""Endpoints that differ less in speed count as equally fast: their peaks are noisy."""
_OVERPROVISION = 1.4
"""Source: Envoy, priority levels: a tier keeps all calls while 72 % of it are well."""


class _Plain(msgspec.Struct, frozen=True, gc=False):
    """What most strategies have in common: nothing but a count of choices."""

    needs_tiers: ClassVar[bool] = False
    prefers_fast: ClassVar[bool] = False
    turn: int = 0


class Headroom(_Plain, frozen=True, gc=False):
    """The endpoint with the most room, counted by its tightest limit.

    Weight times the least of remaining / limit over all its limits; an endpoint more
    than twice as slow as the fastest counts for less by as much. Where the limits of
    all are only found so far: peak latency times calls in flight, by weight.
    Source: algorithm notes of this project, section 5.
    """

    prefers_fast: ClassVar[bool] = True

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        turn = self.turn + 1
        if len(candidates) == 1:
            return Headroom(turn), 0
        drawn = _drawn(candidates, ask.u)
        fastest_s = _fastest(drawn)
        is_stated = [1 for c in drawn if not c.is_learnt or c.rate_headroom < 1.0]
        score = _room(fastest_s) if is_stated else _quickness(fastest_s)
        place = _best(drawn, score, turn)
        if place is not None and drawn is not candidates:
            place = candidates.index(drawn[place])
        return Headroom(turn), place


class LeastConnections(_Plain, frozen=True, gc=False):
    """The endpoint with the fewest calls in flight by weight (nginx, `least_conn`)."""

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        turn = self.turn + 1
        return LeastConnections(turn), _best(candidates, _idleness, turn)


class RoundRobin(msgspec.Struct, frozen=True, gc=False):
    """One after the other, whatever their weight."""

    needs_tiers: ClassVar[bool] = False
    prefers_fast: ClassVar[bool] = False
    last: int = -1
    """`Candidate.index` of the one chosen last."""

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        if not candidates:
            return self, None
        places = range(len(candidates))
        after = [p for p in places if candidates[p].index > self.last]
        place = min(after or places, key=lambda p: candidates[p].index)
        return RoundRobin(candidates[place].index), place


class WeightedRoundRobin(msgspec.Struct, frozen=True, gc=False):
    """As often as their weights say, and evenly spread.

    Invariant: while all stay eligible, no endpoint is ever more than one call away from
    its share.
    Source: nginx, smooth weighted round robin (each gains its weight; the highest is
    chosen and pays the sum).
    """

    needs_tiers: ClassVar[bool] = False
    prefers_fast: ClassVar[bool] = False
    credits: Mapping[int, float] = MappingProxyType({})
    """By `Candidate.index`; whoever cannot be chosen neither gains nor pays."""

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        if not candidates:
            return self, None
        had = self.credits.get
        gained = [had(c.index, 0.0) + c.weight for c in candidates]
        place = gained.index(max(gained))
        gained[place] -= sum(c.weight for c in candidates)
        credits = dict(self.credits)
        for candidate, gain in zip(candidates, gained, strict=True):
            credits[candidate.index] = gain
        return WeightedRoundRobin(credits), place


class Random(_Plain, frozen=True, gc=False):
    """Any endpoint, by weight."""

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        left = ask.u * sum(c.weight for c in candidates)
        for place, candidate in enumerate(candidates):
            left -= candidate.weight
            if left < 0:
                return self, place
        return self, len(candidates) - 1 if candidates else None


class HealthAware(_Plain, frozen=True, gc=False):
    """The fewest calls in flight by weight and by the share of calls that succeed."""

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        turn = self.turn + 1
        return HealthAware(turn), _best(candidates, _soundness, turn)


class P2cEwma(_Plain, frozen=True, gc=False):
    """The better of two drawn at random, by peak latency times calls in flight.

    Source: Finagle, `p2c` with `PeakEwma`.
    """

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        if not candidates:
            return self, None
        first, second = _two(len(candidates), ask.u)
        one, other = candidates[first], candidates[second]
        load = _quickness(_fastest((one, other)))
        return self, first if load(one) >= load(other) else second


class PriorityTiers(_Plain, frozen=True, gc=False):
    """The lowest tier, and of the next ones as much as it has lost in health.

    A tier takes min(1, 1.4 x its healthy share) of what those before it leave. Within
    a tier, the most room. A full tier makes a call wait; only a sick one passes it on.
    Source: Envoy, priority levels and overprovisioning factor.
    """

    needs_tiers: ClassVar[bool] = True

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        turn = self.turn + 1
        tier = _tier(ask.tiers, ask.u)
        places = [p for p, c in enumerate(candidates) if c.tier == tier]
        inside = [candidates[p] for p in places]
        place = _best(inside, _room(_fastest(inside)), turn)
        return PriorityTiers(turn), None if place is None else places[place]


class Sticky(_Plain, frozen=True, gc=False):
    """The same endpoint for the same affinity, for its prompt cache, within bounds.

    Weighted rendezvous hashing: each call has its own order of the endpoints, and an
    endpoint that comes or goes moves only its own share. The first in that order with
    no more than 1.25 times its share of the calls in flight gets it.
    Source: Mirrokni et al. 2018 (bounds); Thaler and Ravishankar 1998 (rendezvous).
    """

    def choose(
        self, candidates: Sequence[Candidate], ask: Ask
    ) -> tuple[Balancer, int | None]:
        turn = self.turn + 1
        if not ask.affinity or len(candidates) < 2:
            return Sticky(turn), _best(candidates, _idleness, turn)
        calls = sum(c.in_flight for c in candidates) + 1
        share = _BOUND * calls / sum(c.weight for c in candidates)
        bounded = [
            p
            for p, c in enumerate(candidates)
            if c.in_flight < math.ceil(share * c.weight)
        ]
        place = max(bounded, key=lambda p: _affinity(candidates[p], ask.affinity))
        return Sticky(turn), place


_BALANCERS: Mapping[str, Callable[[], Balancer]] = MappingProxyType(
    {
        "headroom": Headroom,
        "least_connections": LeastConnections,
        "round_robin": RoundRobin,
        "weighted_round_robin": WeightedRoundRobin,
        "random": Random,
        "health_aware": HealthAware,
        "p2c_ewma": P2cEwma,
        "priority": PriorityTiers,
        "sticky": Sticky,
    }
)
STRATEGIES = tuple(_BALANCERS)
"""How one of several endpoints may be chosen; docs/how-to/endpoints.md."""


def balancer_named(strategy: str) -> Balancer:
    """Return the strategy of that name.

    Raises:
        ConfigError: there is none; names those there are.
    """
    made = _BALANCERS.get(strategy)
    if made is None:
        raise ConfigError(
            f"strategy: given {strategy[:40]!r}, allowed {', '.join(STRATEGIES)}"
        )
    return made()


# ---- scores, the higher the better

_Score = Callable[[Candidate], float]


def _room(fastest_s: float) -> _Score:
    """Score by the tightest limit, slow endpoints for less."""
    even_s = _TOLERANCE * fastest_s

    def score(c: Candidate) -> float:
        share = (c.limit - c.in_flight) / c.limit
        if c.rate_headroom < share:
            share = c.rate_headroom
        if c.latency_s > even_s > 0.0:
            share *= even_s / c.latency_s
        return c.weight * share

    return score


def _quickness(fastest_s: float) -> _Score:
    """Score by how soon a call would be done; the unknown count as the fastest."""
    least_s = fastest_s or 1.0

    def score(c: Candidate) -> float:
        return c.weight / ((c.latency_s or least_s) * (c.in_flight + 1))

    return score


def _idleness(c: Candidate) -> float:
    return c.weight / (c.in_flight + 1)


def _soundness(c: Candidate) -> float:
    return c.success_share**2 * c.weight / (c.in_flight + 1)


def _best(candidates: Sequence[Candidate], score: _Score, turn: int) -> int | None:
    """Return the place of the best; of equals another one each turn."""
    best: list[int] = []
    best_score = -1.0
    for place, candidate in enumerate(candidates):
        found = score(candidate)
        if found > best_score:
            best, best_score = [place], found
        elif found == best_score:
            best.append(place)
    return best[turn % len(best)] if best else None


def _fastest(candidates: Sequence[Candidate]) -> float:
    """Return the least latency that is known; 0.0 if none is."""
    return min([c.latency_s for c in candidates if c.latency_s], default=0.0)


def _two(count: int, u: float) -> tuple[int, int]:
    """Draw two places out of `count`, different ones if there are two."""
    scaled = u * count
    first = int(scaled)
    if count < 2:
        return first, first
    other = int((scaled - first) * (count - 1))
    return first, other + (other >= first)


def _drawn(candidates: Sequence[Candidate], u: float) -> Sequence[Candidate]:
    """Return all of a few candidates, two of many."""
    if len(candidates) <= _MANY:
        return candidates
    first, second = _two(len(candidates), u)
    return candidates[first], candidates[second]


def _tier(tiers: Mapping[int, float], u: float) -> int:
    """Return the tier of a call; if none is well, the first with anybody in it."""
    left, order = 1.0, sorted(tiers)
    reach = [(t, min(1.0, _OVERPROVISION * tiers[t])) for t in order]
    total = 0.0
    shares: list[tuple[int, float]] = []
    for tier, health in reach:
        share = min(left, health)
        shares.append((tier, share))
        left -= share
        total += share
    drawn = u * total
    for tier, share in shares:
        drawn -= share
        if drawn < 0:
            return tier
    return order[0] if order else 0


def _affinity(c: Candidate, affinity: str) -> float:
    """Score an endpoint for an affinity; the same in every process."""
    digest = blake2b(f"{c.name}\0{affinity}".encode(), digest_size=6).digest()
    share = (int.from_bytes(digest) + 0.5) / 2.0**48
    return -c.weight / math.log(share)
