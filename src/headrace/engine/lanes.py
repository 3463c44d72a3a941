"""The lanes of one gate: who waits, by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.engine.lane import RATE, SLOT, Lane

_MANY = 64
"""Lanes kept though nobody waits in them: to make one anew costs more."""


class Lanes:
    """The lanes of one gate, by model; those that nobody needs go.

    `debts` is what tenants owe from before, as `owed` gave it.
    """

    __slots__ = ("_by_model", "debts", "only")

    def __init__(self) -> None:
        self._by_model: dict[str, Lane] = {}
        self.only: Lane | None = None
        """The lane, while there has been but one."""
        self.debts: Mapping[str, float] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._by_model.values())

    def find(self, model: str) -> Lane | None:
        """Return the lane of a model; None if none of its calls has waited."""
        return self._by_model.get(model)

    def of(self, model: str, now: float) -> Lane:
        """Return the lane of a model, made if need be."""
        lane = self._by_model.get(model)
        if lane is None:
            lane = self._by_model[model] = Lane(model, now, self.debts)
            self.only = lane if len(self._by_model) == 1 else None
        return lane

    def waiting(self) -> list[Lane]:
        """Return the lanes in which somebody waits."""
        return [lane for lane in self._by_model.values() if lane.queue.size]

    def least_passed(self) -> float:
        """Return how far the lane is that is most behind of those that wait."""
        return min([lane.passed for lane in self.waiting()], default=0.0)

    def tidy(self) -> None:
        """Forget lanes that nobody waits in, if there are many."""
        for lane in list(self._by_model.values()):
            if len(self._by_model) <= _MANY:
                return
            if not lane.queue.size and not lane.head:
                del self._by_model[lane.model]

    def direct_calls(self) -> int:
        """Return how many wait that are no items of jobs; looks at all of them."""
        return sum(
            not ticket.call.job
            for lane in self._by_model.values()
            for ticket in lane.queue
        )

    def binding(self) -> str:
        """Return what holds the calls back now; `none` if nobody waits."""
        lane = next((x for x in self._by_model.values() if x.queue.size), None)
        if lane is None:
            return "none"
        if lane.spell.reason == RATE:
            return lane.bound or "calls"
        return "in_flight" if lane.spell.reason == SLOT else "endpoint"

    def owed(self) -> dict[str, float]:
        """Return how far tenants are ahead of their part, by `priority/tenant`."""
        found = {} if self._by_model else dict(self.debts)
        for lane in self._by_model.values():
            for key, debt in lane.queue.debts().items():
                found[key] = max(debt, found.get(key, 0.0))
        return found
