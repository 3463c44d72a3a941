"""What is learnt of endpoints, kept for the next process: slots and rates."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.clock import Clock
from headrace.engine.gate import Gate
from headrace.engine.site import Site
from headrace.policies.ratenotes import Note

_LIMIT, _RATE = "limit/", "rate/"
_OLDEST_S = 24 * 3600.0
"""What was learnt before says little of today."""


class LimitNote(msgspec.Struct, frozen=True):
    """How many calls an endpoint took at once."""

    in_flight: int
    at: float
    """UTC seconds."""


class RateNote(msgspec.Struct, frozen=True):
    """What was learnt of the rates of an endpoint, model by model."""

    rates: tuple[Note, ...]
    at: float
    """UTC seconds."""


class SiteNotes:
    """Notes what the endpoints of one gate have taught; a `Learner`.

    A note belongs to an address and the variable that holds its key: another account
    has limits of its own. Functions have none that would outlive their process.

    Args:
        gate: whose endpoints; also those that come later are noted.
        clock: time.
    """

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    def notes(self) -> Mapping[str, bytes]:
        """Return what has been learnt, by name; may be empty."""
        now, at = self._clock.monotonic(), self._clock.utc()
        found: dict[str, bytes] = {}
        for site in self._gate.sites:
            learnt, rates = site.limit.learnt, site.notes(now)
            if learnt is not None:
                found[_LIMIT + _whose(site)] = msgspec.json.encode(
                    LimitNote(learnt, at)
                )
            if rates:
                found[_RATE + _whose(site)] = msgspec.json.encode(
                    RateNote(tuple(rates), at)
                )
        return found

    def recall(self, notes: Mapping[str, bytes]) -> None:
        """Let each endpoint begin with what was noted of it within a day.

        Raises:
            MsgspecError: a note cannot be read; the others count.
        """
        now, at = self._clock.monotonic(), self._clock.utc()
        for site in self._gate.sites:
            limit = notes.get(_LIMIT + _whose(site))
            if limit is not None:
                known = msgspec.json.decode(limit, type=LimitNote)
                if at - known.at <= _OLDEST_S and known.in_flight >= 1:
                    site.begin_at(known.in_flight)
            rates = notes.get(_RATE + _whose(site))
            if rates is not None:
                told = msgspec.json.decode(rates, type=RateNote)
                if at - told.at <= _OLDEST_S:
                    site.recall(told.rates, now, max(0.0, at - told.at))
        self._gate.count_capacity()


def _whose(site: Site) -> str:
    endpoint = site.endpoint
    return f"{endpoint.base_url}#{endpoint.key_env or ''}"
