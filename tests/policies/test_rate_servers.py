"""Saturated half hours of virtual time against servers that count in their own ways.

Goals (section 9 of the algorithm notes): no refusals, and 98 % of the limit used, less
the share of the largest single cost.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from typing import Protocol

import pytest

from headrace.model import Limits
from headrace.policies.rate import RateLimit, build_rate

MINUTES = 30
START_S = 1_000.3


class Server(Protocol):
    def take(self, now: float, units: float) -> bool: ...

    def refund(self, at: float, units: float) -> None: ...


class SlidingLog:
    """Counts what arrived within the last minute, both ends included."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.log: deque[list[float]] = deque()
        self.sum = 0.0

    def take(self, now: float, units: float) -> bool:
        while self.log and self.log[0][0] < now - 60.0:
            self.sum -= self.log.popleft()[1]
        if self.sum + units > self.limit + 1e-6:
            return False
        self.log.append([now, units])
        self.sum += units
        return True

    def refund(self, at: float, units: float) -> None:
        for entry in self.log:
            if entry[0] == at:
                entry[1] -= units
                self.sum -= units
                return


class Bucket:
    """Holds `limit` units, refilled evenly within a minute."""

    def __init__(self, limit: float) -> None:
        self.limit = self.level = limit
        self.at = 0.0

    def take(self, now: float, units: float) -> bool:
        refilled = self.level + (now - self.at) * self.limit / 60.0
        self.level, self.at = min(self.limit, refilled), now
        if self.level + 1e-6 < units:
            return False
        self.level -= units
        return True

    def refund(self, at: float, units: float) -> None:
        self.level = min(self.limit, self.level + units)


class FixedMinute:
    """Starts from zero at each full minute."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.minute = -1
        self.sum = 0.0

    def take(self, now: float, units: float) -> bool:
        if int(now // 60) != self.minute:
            self.minute, self.sum = int(now // 60), 0.0
        if self.sum + units > self.limit + 1e-6:
            return False
        self.sum += units
        return True

    def refund(self, at: float, units: float) -> None:
        if int(at // 60) == self.minute:
            self.sum -= units


class Saturated:
    """A client that always has a next call, over a network with jitter."""

    def __init__(self, rate: RateLimit, server: Server, seed: int) -> None:
        self.rate = rate
        self.server = server
        self.random = random.Random(seed)
        self.refused = 0
        self.units = 0.0

    def run(self, largest: int, duration_s: float = 0.0) -> float:
        """Run for `MINUTES`; return units that counted per minute.

        Args:
            largest: costs are drawn evenly from 1 to this.
            duration_s: of the longest call; > 0 = a random part of its cost is used,
                and the rest refunded when it ends.
        """
        now, end = START_S, START_S + 60.0 * MINUTES
        events: list[tuple[float, int, str, tuple]] = []
        serial = 0
        while now < end:
            costs = self.rate.costs(self.random.randint(1, largest))
            start_at = self.rate.earliest(now, costs)
            if events and events[0][0] <= start_at:
                now, _, kind, what = heapq.heappop(events)
                if kind == "arrive":
                    self._arrive(now, *what)
                else:
                    self._end(now, *what)
                continue
            self.rate, start_at = self.rate.reserve(now, costs)
            now = start_at
            arrive_at = (
                start_at + self.random.choice([0, 1, self.random.random()]) * 0.2
            )
            heapq.heappush(events, (arrive_at, serial, "arrive", (costs[-1],)))
            serial += 1
            if not duration_s:
                self.units += costs[-1]
                continue
            used = costs[-1] * self.random.random()
            self.units += used
            end_at = arrive_at + self.random.random() * duration_s
            ended = (arrive_at, costs, used, start_at)
            heapq.heappush(events, (end_at, serial, "end", ended))
            serial += 1
        return self.units / MINUTES

    def _arrive(self, now: float, units: float) -> None:
        if not self.server.take(now, units):
            self.refused += 1

    def _end(
        self, now: float, arrived_at: float, costs: tuple, used: float, start_at: float
    ) -> None:
        self.server.refund(arrived_at, costs[-1] - used)
        settled = (*costs[:-1], used)
        self.rate = self.rate.settle(now, costs, settled, start_at)


SERVERS = [SlidingLog, Bucket, FixedMinute]


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("per_minute", "share"), [(600, 0.98), (30, 0.98), (7, 0.98)])
def test_calls_are_never_refused_and_the_limit_is_used(server, per_minute, share):
    rate = build_rate(Limits(calls_per_minute=per_minute))
    client = Saturated(rate, server(per_minute), seed=1)
    used = client.run(largest=1) / per_minute
    print(f"{server.__name__} {per_minute}/min: {used:.4f} used")
    assert client.refused == 0
    assert used >= share


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("largest", [400, 4000, 30_000])
def test_reserved_tokens_are_never_refused_and_the_limit_is_used(server, largest):
    rate = build_rate(Limits(calls_per_minute=100_000, tokens_per_minute=60_000))
    client = Saturated(rate, server(60_000), seed=2)
    used = client.run(largest) / 60_000
    print(f"{server.__name__} to {largest}: {used:.4f} used")
    assert client.refused == 0
    assert used >= 0.98 - largest / 60_000


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("duration_s", [0.5, 3.0])
def test_actual_tokens_are_never_refused_and_the_limit_is_used(server, duration_s):
    limits = Limits(tokens_per_minute=60_000, token_accounting="actual")
    client = Saturated(build_rate(limits), server(60_000), seed=3)
    used = client.run(4000, duration_s) / 60_000
    print(f"{server.__name__} calls to {duration_s} s: {used:.4f} used")
    assert client.refused == 0
    assert used >= 0.98 - 4000 / 60_000


@pytest.mark.slow
def test_long_calls_cost_only_what_they_hold_reserved():
    limits = Limits(tokens_per_minute=60_000, token_accounting="actual")
    client = Saturated(build_rate(limits), SlidingLog(60_000), seed=4)
    used = client.run(4000, duration_s=30.0) / 60_000
    print(f"calls to 30 s: {used:.4f} used")
    assert client.refused == 0
    assert used >= 0.7
