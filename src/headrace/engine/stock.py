"""Leased items that nobody works on yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from headrace.clock import Clock
from headrace.jobs import Flow, Leased
from headrace.model import Priority
from headrace.policies.admission import FairQueue


class Stock:
    """Leased items of one route, given out in fair order: priority, tenant, job.

    Args:
        clock: time; who has waited long counts for more.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: FairQueue[Leased] = FairQueue()

    def __len__(self) -> int:
        return self._queue.size

    def add(self, leased: Sequence[Leased], flows: Mapping[int, Flow]) -> None:
        """Take items in; their jobs are among `flows`, by number."""
        now = self._clock.monotonic()
        for lease in leased:
            flow = flows[lease.job]
            name = f"{flow.tenant}/{flow.job_id}"
            self._queue.push(lease, name, flow.priority, 1.0, now)

    def take(self) -> Leased | None:
        """Take out whose turn it is; None if none is here."""
        return self._queue.pop(self._clock.monotonic())

    def take_job(self, job: int) -> list[Leased]:
        """Take out all items of one job."""
        found = [lease for lease in self._queue if lease.job == job]
        for lease in found:
            self._queue.discard(lease)
        return found

    def take_all(self) -> list[Leased]:
        """Take out everything."""
        found = list(self._queue)
        for lease in found:
            self._queue.discard(lease)
        return found

    def jobs(self) -> set[int]:
        """Return the numbers of the jobs of which items are here."""
        return {lease.job for lease in self._queue}

    def by_job(self) -> Counter[int]:
        """Return how many items of each job are here."""
        return Counter(lease.job for lease in self._queue)

    def by_priority(self, flows: Mapping[int, Flow]) -> Counter[Priority]:
        """Return how many items of each priority are here."""
        return Counter(flows[lease.job].priority for lease in self._queue)
