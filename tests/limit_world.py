"""A small world that drives one in-flight limit alone: a heap of ends, no event loop.

An infinite backlog; a server with a hard cap, or one that queues, or none; a refusal
answers after 50 ms. Hours of calls take a second, so goals can be medians over seeds.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections import deque
from collections.abc import Callable

from headrace.policies.concurrency import InFlightLimit, Sample, Verdict

REFUSAL_S = 0.05
MEAN_S = 5.0


def lognormal(cv: float, mean_s: float = MEAN_S) -> Callable[[random.Random], float]:
    """Return what draws durations with this coefficient of variation."""
    if not cv:
        return lambda _chance: mean_s
    sigma = math.sqrt(math.log(1 + cv * cv))
    mu = math.log(mean_s) - sigma * sigma / 2
    return lambda chance: chance.lognormvariate(mu, sigma)


class World:
    """Calls one server as fast as a limit allows.

    Args:
        limit: under test.
        draw: duration of a call in service.
        cap: calls served at once at a time; inf = no limit.
        queues: what is over the cap waits instead of being refused.
    """

    def __init__(
        self,
        limit: InFlightLimit,
        draw: Callable[[random.Random], float],
        cap: Callable[[float], float] | float = math.inf,
        *,
        queues: bool = False,
        seed: int = 0,
    ) -> None:
        self.limit = limit
        self._draw = draw
        self._cap = cap if callable(cap) else (lambda _now: cap)
        self._queues = queues
        self._chance = random.Random(seed)
        self._ends: list[tuple[float, int, float, bool, int]] = []
        self._number = 0
        self._served = 0
        self._waiting: deque[tuple[float, int]] = deque()
        self._started = 0
        self.in_flight = 0
        self.answered: list[tuple[float, float]] = []
        """When each call was answered, and how long it took."""
        self.refused: list[float] = []
        self.values: list[tuple[float, int]] = [(0.0, limit.value)]

    def run(self, until_s: float) -> World:
        """Let the world turn."""
        self._fill(0.0)
        while self._ends and self._ends[0][0] <= until_s:
            now, _, started_at, ok, number = heapq.heappop(self._ends)
            verdict = Verdict.OK if ok else Verdict.REFUSED
            self._end(now, started_at, verdict, number)
            self._fill(now)
        return self

    def _end(
        self, now: float, started_at: float, verdict: Verdict, number: int
    ) -> None:
        if verdict is Verdict.OK:
            self._served -= 1
            self.answered.append((now, now - started_at))
            while self._waiting and self._served < self._cap(now):
                self._serve(now, *self._waiting.popleft())
        else:
            self.refused.append(now)
        before = self.limit.value
        sample = Sample(
            started_at,
            now - started_at,
            self.in_flight,
            verdict,
            number,
            self._started,
        )
        self.limit = self.limit.observe(sample)
        self.in_flight -= 1
        if self.limit.value != before:
            self.values.append((now, self.limit.value))

    def _fill(self, now: float) -> None:
        while self.in_flight < self.limit.value:
            self.in_flight += 1
            self._started += 1
            if self._served < self._cap(now):
                self._serve(now, now, self._started)
            elif self._queues:
                self._waiting.append((now, self._started))
            else:
                self._push(now + REFUSAL_S, now, False, self._started)

    def _serve(self, now: float, started_at: float, number: int) -> None:
        self._served += 1
        self._push(now + self._draw(self._chance), started_at, True, number)

    def _push(self, at: float, started_at: float, ok: bool, number: int) -> None:
        self._number += 1
        heapq.heappush(self._ends, (at, self._number, started_at, ok, number))

    # ---- what is asked of a run

    def done(self, from_s: float, to_s: float) -> int:
        """Return how many calls were answered in a time."""
        return sum(from_s < at <= to_s for at, _ in self.answered)

    def use(self, best_per_s: float, from_s: float, to_s: float) -> float:
        """Return the throughput as a share of the best fixed limit's."""
        return self.done(from_s, to_s) / (best_per_s * (to_s - from_s))

    def t95(self, best_per_s: float, from_s: float = 0.0) -> float:
        """Return after how many mean durations 95 % of the best was reached.

        Over the last two mean durations; the best fixed limit itself needs 2 to 2.5.
        """
        window_s = 2 * MEAN_S
        ends = [at for at, _ in self.answered]
        low = high = 0
        at = from_s + window_s
        while at <= ends[-1]:
            while high < len(ends) and ends[high] <= at:
                high += 1
            while ends[low] <= at - window_s:
                low += 1
            if high - low >= 0.95 * best_per_s * window_s:
                return (at - from_s) / MEAN_S
            at += 0.1 * MEAN_S
        return math.inf

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (len(self.refused) + len(self.answered))

    def p99(self, from_s: float) -> float:
        """Return the duration that 1 % of the later calls exceed."""
        return statistics.quantiles(
            [took for at, took in self.answered if at > from_s], n=100
        )[98]
