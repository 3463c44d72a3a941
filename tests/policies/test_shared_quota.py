"""Many clients that share one quota and do not know it nor each other.

Goal 7 of the algorithm notes: at least 90 % fewer refusals than exponential back-off,
in at most 1.2 times its time.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

import pytest

from headrace.model import Cost
from headrace.policies.lesson import Setting
from headrace.policies.ratebook import ModelRates, Refusal, Sent

CLIENTS = 100
CALLS = 60
SLOTS = 4
PER_MINUTE = 600
REPLY_S, REFUSAL_S = 1.0, 0.1
SETTING = Setting()


class Quota:
    """A sliding log, or a bucket, of calls a minute, shared by all clients."""

    def __init__(self, *, is_bucket: bool) -> None:
        self.is_bucket = is_bucket
        self.log: deque[float] = deque()
        self.level, self.at = float(PER_MINUTE), 0.0

    def take(self, now: float) -> float:
        """Return 0.0 if the call is accepted, else when it would be, in seconds."""
        if self.is_bucket:
            gained = (now - self.at) * PER_MINUTE / 60.0
            self.level, self.at = min(PER_MINUTE, self.level + gained), now
            if self.level < 1.0:
                return (1.0 - self.level) * 60.0 / PER_MINUTE
            self.level -= 1.0
            return 0.0
        while self.log and self.log[0] <= now - 60.0:
            self.log.popleft()
        if len(self.log) >= PER_MINUTE:
            return self.log[0] + 60.0 - now
        self.log.append(now)
        return 0.0


class World:
    """What happens, in order of time."""

    def __init__(self, quota: Quota, *, says_wait: bool, seed: int) -> None:
        self.quota, self.says_wait = quota, says_wait
        self.random = random.Random(seed)
        self.now, self.refused, self.done = 0.0, 0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def later(self, wait_s: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + wait_s, next(self._order), then))

    def call(self, ended: Callable[[float | None], None]) -> None:
        """Make one call; `ended` hears 0.0, or how long it should wait, if it is said."""

        def arrive() -> None:
            wait_s = self.quota.take(self.now)
            if not wait_s:
                self.later(REPLY_S, lambda: ended(0.0))
                return
            self.refused += 1
            said = wait_s if self.says_wait else None
            self.later(REFUSAL_S, lambda: ended(said))

        self.later(self.random.random() * 0.2, arrive)

    def run(self) -> None:
        while self._events and self.done < CLIENTS * CALLS:
            self.now, _, then = heapq.heappop(self._events)
            then()


class BackingOff:
    """Calls at once, and doubles its wait, with full jitter, after each refusal."""

    def __init__(self, world: World) -> None:
        self.world, self.left = world, CALLS
        for _ in range(SLOTS):
            self.begin()

    def begin(self) -> None:
        if self.left:
            self.left -= 1
            self.send(0)

    def send(self, failures: int) -> None:
        def ended(said: float | None) -> None:
            if said == 0.0:
                self.world.done += 1
                self.begin()
                return
            wait_s = min(60.0, 2.0**failures) * self.world.random.random()
            self.world.later((said or 0.0) + wait_s, lambda: self.send(failures + 1))

        self.world.call(ended)


class Learning:
    """Calls as the gate does: what is learnt of its refusals says when."""

    def __init__(self, world: World) -> None:
        self.world, self.rates = world, ModelRates()
        self.waiting, self.flying = [0] * CALLS, 0
        self.accepted: deque[float] = deque()
        self.pump_at = -1.0
        self.pump()

    def pump(self) -> None:
        world = self.world
        while self.waiting and self.flying < SLOTS:
            costs = self.rates.costs(Cost())
            at = self.rates.rate.earliest(world.now, costs)
            if at > world.now:
                if self.pump_at <= world.now or at < self.pump_at:
                    self.pump_at = at
                    world.later(at - world.now, self.due)
                return
            rate, _ = self.rates.rate.reserve(world.now, costs)
            self.rates = self.rates.with_rate(rate)
            self.flying += 1
            self.send(self.waiting.pop(), world.now)

    def due(self) -> None:
        self.pump_at = -1.0
        self.pump()

    def send(self, failures: int, started_at: float) -> None:
        def ended(said: float | None) -> None:
            self.flying -= 1
            now = self.world.now
            while self.accepted and self.accepted[0] < now - 60.0:
                self.accepted.popleft()
            sent = Sent(len(self.accepted) + self.flying + 1.0)
            if said == 0.0:
                self.world.done += 1
                self.accepted.append(now)
                self.rates = self.rates.observe(now, (), sent, SETTING)
            else:
                self.refuse(said, failures, started_at, sent)
            self.pump()

        self.world.call(ended)

    def refuse(
        self, said: float | None, failures: int, started_at: float, sent: Sent
    ) -> None:
        world = self.world
        u = world.random.random()
        refusal = Refusal(started_at, Cost(), "calls", said)
        self.rates = self.rates.refused(world.now, refusal, u, sent, SETTING)
        base_s = min(30.0, 2.0**failures) * (0.5 + 0.5 * u)
        wait_s = base_s if said is None else said * (1 + 0.1 * u)
        world.later(wait_s, lambda: self.again(failures + 1))

    def again(self, failures: int) -> None:
        self.waiting.append(failures)
        self.pump()


def played(
    client: Callable[[World], object], *, is_bucket: bool, says_wait: bool, seed: int
) -> World:
    """Let all clients do their work; return how it went."""
    world = World(Quota(is_bucket=is_bucket), says_wait=says_wait, seed=seed)
    clients = [client(world) for _ in range(CLIENTS)]
    world.run()
    assert len(clients) == CLIENTS
    assert world.done == CLIENTS * CALLS
    return world


@pytest.mark.slow
@pytest.mark.parametrize("is_bucket", [True, False])
@pytest.mark.parametrize("says_wait", [True, False])
def test_a_shared_quota_is_found_with_a_tenth_of_the_refusals(is_bucket, says_wait):
    terms = {"is_bucket": is_bucket, "says_wait": says_wait, "seed": 1}
    usual = played(BackingOff, is_bucket=is_bucket, says_wait=False, seed=1)
    ours = played(Learning, **terms)
    print(
        f"{terms}: {ours.refused} of {usual.refused} refusals, "
        f"{ours.now:.0f} of {usual.now:.0f} s"
    )
    assert ours.refused <= 0.1 * usual.refused
    assert ours.now <= 1.2 * usual.now
