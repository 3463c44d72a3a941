"""What a gate has learnt, as notes that a store keeps for the next process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

import msgspec

from headrace.clock import Clock
from headrace.engine.gate import Gate
from headrace.engine.site import Site
from headrace.policies.controllers import build_in_flight
from headrace.policies.ratenotes import Note


class LimitNote(msgspec.Struct, frozen=True):
    """How many calls in flight an endpoint was found to take.

    It is only where the search begins, so an old one costs little.
    """

    MAX_AGE_S: ClassVar[float] = 7 * 86_400.0
    address: str
    limit: int
    at: float
    """UTC seconds."""


class RateNote(msgspec.Struct, frozen=True):
    """A rate that was learnt of one model at one endpoint; quotas change."""

    MAX_AGE_S: ClassVar[float] = 86_400.0
    address: str
    rate: Note
    at: float


class DebtNote(msgspec.Struct, frozen=True):
    """How far a tenant was ahead of its part of a route; soon forgotten."""

    MAX_AGE_S: ClassVar[float] = 3_600.0
    key: str
    """`priority/tenant`."""
    debt: float
    at: float


_Dated = TypeVar("_Dated", LimitNote, RateNote, DebtNote)


class Learning:
    """The `Learner` of one served route: limits, rates and debts; breakers are not kept.

    Args:
        gate: learns.
        clock: time.
        route: debts are kept by route, limits and rates by address.
    """

    def __init__(self, gate: Gate, clock: Clock, route: str) -> None:
        self._gate = gate
        self._clock = clock
        self._flows = f"flow/{route}/"

    def notes(self) -> Mapping[str, bytes]:
        """Return what has been learnt, by name; may be empty."""
        at, now = float(round(self._clock.utc())), self._clock.monotonic()
        found: dict[str, bytes] = {}
        for site in self._gate.sites:
            address = _address(site)
            limit = site.limit.learnt
            if limit is not None:
                note = LimitNote(address, limit, at)
                found[f"limit/{address}"] = msgspec.json.encode(note)
            for rate in site.notes(now):
                name = f"rate/{address}/{rate.model}/{rate.dimension}"
                found[name] = msgspec.json.encode(RateNote(address, rate, at))
        for key, debt in self._gate.lanes.owed().items():
            found[self._flows + key] = msgspec.json.encode(DebtNote(key, debt, at))
        return found

    def recall(self, notes: Mapping[str, bytes]) -> None:
        """Take what former processes noted, once, before the first call.

        Raises:
            MsgspecError: a note of this route cannot be read.
        """
        limits = {n.address: n.limit for n in self._read(notes, "limit/", LimitNote)}
        rates: dict[str, list[RateNote]] = {}
        for rate in self._read(notes, "rate/", RateNote):
            rates.setdefault(rate.address, []).append(rate)
        for site in self._gate.sites:
            self._teach(site, limits, rates)
        owed = self._read(notes, self._flows, DebtNote)
        self._gate.lanes.debts = {note.key: note.debt for note in owed}
        self._gate.count_capacity()

    def _read(
        self, notes: Mapping[str, bytes], prefix: str, kind: type[_Dated]
    ) -> list[_Dated]:
        """Return the notes of one kind that are not too old."""
        found = [
            msgspec.json.decode(value, type=kind)
            for name, value in notes.items()
            if name.startswith(prefix)
        ]
        at = self._clock.utc()
        return [note for note in found if at - note.at <= note.MAX_AGE_S]

    def _teach(
        self,
        site: Site,
        limits: Mapping[str, int],
        rates: Mapping[str, list[RateNote]],
    ) -> None:
        address = _address(site)
        limit = limits.get(address)
        if limit is not None and limit >= 1 and site.limit.learns:
            site.limit = build_in_flight(site.endpoint.limits, limit)
        found = rates.get(address)
        if found:
            away_s = max(0.0, self._clock.utc() - min(note.at for note in found))
            site.recall([n.rate for n in found], self._clock.monotonic(), away_s)


def _address(site: Site) -> str:
    """Return what tells apart whose limits these are: the address and the account."""
    endpoint = site.endpoint
    where = endpoint.base_url or endpoint.name
    return f"{where}#{endpoint.key_env}" if endpoint.key_env else where
