"""Calls behind one that waits: who may go, and that nobody starts later for it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_building import a_call
from headrace.engine.backfilling import Backfill
from headrace.engine.gate import Gate
from headrace.engine.lane import Lane
from headrace.engine.site import Site
from headrace.engine.siterates import LATENESS_S
from headrace.engine.ticket import Ticket
from headrace.events import unheard
from headrace.model import Endpoint, Limits, Priority
from headrace.simulation.virtual import VirtualClock, run_virtual

Request = tuple[float, int, float, Priority, str]
"""When it comes, its tokens, how long it takes, its priority, its model."""


class Held(Backfill):
    """Notes before whom somebody went; lets nobody go before the head named."""

    def __init__(self, gate: Gate, frozen: str = "") -> None:
        super().__init__(gate.placement)
        self.frozen = frozen
        self.passed: list[str] = []
        self.heads: list[str] = []

    def next_of(self, lane: Lane, now: float) -> Ticket | None:
        head = self._head_of(lane, now)
        if head == self.frozen:
            return None
        found = super().next_of(lane, now)
        if found is not None:
            self.passed.append(head)
        return found

    def admits(self, lane: Lane, ticket: Ticket, now: float) -> bool:
        head = self._head_of(lane, now)
        if head == self.frozen or not super().admits(lane, ticket, now):
            return False
        self.passed.append(head)
        return True

    def _head_of(self, lane: Lane, now: float) -> str:
        head = lane.queue.peek(now)
        assert head is not None
        if not self.heads or self.heads[-1] != head.call.id:
            self.heads.append(head.call.id)
        return head.call.id


class Run(msgspec.Struct):
    gate: Gate
    held: Held
    starts: dict[str, tuple[float, str]] = {}
    violations: list[str] = []

    async def one(self, name: str, request: Request) -> None:
        at_s, tokens, duration_s, priority, model = request
        await asyncio.sleep(at_s)
        call = a_call(name, tokens=tokens, priority=priority, model=model)
        async with self.gate.admit(call) as ticket:
            now = asyncio.get_running_loop().time()
            self.starts[name] = (now, ticket.endpoint.name)
            await asyncio.sleep(duration_s)


def a_run(pool: tuple[Endpoint, ...], frozen: str = "") -> Run:
    gate = Gate(pool, VirtualClock(), unheard)
    gate.backfill = held = Held(gate, frozen)
    return Run(gate, held)


def played(
    pool: tuple[Endpoint, ...],
    requests: list[Request],
    frozen: str = "",
) -> Run:
    async def main() -> Run:
        run = a_run(pool, frozen)
        watcher = asyncio.create_task(idle_watch(run.gate, run.violations))
        try:
            async with asyncio.TaskGroup() as group:
                for i, request in enumerate(requests):
                    group.create_task(run.one(str(i), request))
        finally:
            watcher.cancel()
        return run

    return run_virtual(main())


async def idle_watch(gate: Gate, violations: list[str]) -> None:
    """Ask every so often, apart from the gate's own search, whether anybody may go."""
    while True:
        await asyncio.sleep(0.37)
        for _ in range(3):
            await asyncio.sleep(0)  # what else is due at this moment goes first
        now = asyncio.get_running_loop().time()
        for lane in gate.lanes:
            violations.extend(who_may_go(gate, lane, now))


def who_may_go(gate: Gate, lane: Lane, now: float) -> list[str]:
    head = lane.queue.peek(now)
    return [
        f"{ticket.call.id} to {site.endpoint.name} at {now}"
        for ticket in lane.queue
        for site in gate.sites
        if may_go(lane, head, ticket, site, now)
    ]


def may_go(
    lane: Lane, head: Ticket | None, ticket: Ticket, site: Site, now: float
) -> bool:
    call, tokens = ticket.call, ticket.tokens
    if site.rate_fits(call, tokens):
        return False
    if not site.has_slot(behind=ticket is not head):
        return False
    if site is not lane.head_site:
        return site.rate_at(call, tokens, now) <= now - 1e-6
    assert head is not None
    before = site.snapshot()
    try:
        site.give_back(lane.head_hold)
        if site.rate_at(call, tokens, now) > now - 1e-6:
            return False
        if ticket is head:
            return True
        site.reserve(call, tokens, now)
        again = site.reserve(head.call, head.tokens, now)
        return again.start_at <= lane.head_due_at
    finally:
        site.restore(before)


LIMITS = st.builds(
    Limits,
    in_flight=st.integers(1, 4),
    calls_per_minute=st.sampled_from([None, None, 20, 120]),
    tokens_per_minute=st.sampled_from([None, 1_000, 1_000, 4_000]),
)
POOLS = st.lists(LIMITS, min_size=1, max_size=3).map(
    lambda found: tuple(
        Endpoint(name, limits=limits)
        for name, limits in zip("xyz", found, strict=False)
    )
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.0, 0.5, 3.0, 11.0, 30.0]),
        st.sampled_from([0, 1, 10, 10, 100, 400, 900, 1_000]),
        st.sampled_from([0.01, 1.0, 5.0, 40.0]),
        st.sampled_from(list(Priority)),
        st.just(""),
    ),
    min_size=2,
    max_size=14,
)
TWO_MODELS = REQUESTS.map(
    lambda found: [(*r[:4], "ab"[i % 2]) for i, r in enumerate(found)]
)


def test_a_small_call_goes_while_a_large_one_waits_for_tokens_it_does_not_need():
    pool = (Endpoint("one", limits=Limits(in_flight=4, tokens_per_minute=1_000)),)
    normal = Priority.NORMAL
    requests = [(0.0, tokens, 0.1, normal, "") for tokens in (900, 900, 0)]
    run = played(pool, requests)
    assert run.starts["2"][0] == 1_000.0
    assert run.starts["1"][0] > 1_050.0
    assert run.held.passed == ["1"]


def test_a_call_goes_to_an_endpoint_that_is_too_small_for_the_head():
    pool = (
        Endpoint("large", limits=Limits(in_flight=1, tokens_per_minute=9_000)),
        Endpoint("small", limits=Limits(in_flight=1, tokens_per_minute=100)),
    )
    normal = Priority.NORMAL
    requests = [(0.0, t, 9.0, normal, "") for t in (5_000, 5_000, 50)]
    run = played(pool, requests)
    assert run.starts["2"] == (1_000.0, "small")


def test_the_slot_that_the_head_will_need_is_left_to_it():
    pool = (Endpoint("one", limits=Limits(in_flight=2, tokens_per_minute=1_000)),)
    normal = Priority.NORMAL
    requests = [(0.0, 900, 1.0, normal, ""), (0.0, 900, 1.0, normal, "")]
    requests += [(2.0, 0, 500.0, normal, "")] * 2
    run = played(pool, requests)
    alone = played(pool, requests[:2])
    assert run.starts["1"] == alone.starts["1"]
    assert sorted(run.starts[n][0] == 1_002.0 for n in "23") == [False, True]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(POOLS, st.one_of(REQUESTS, TWO_MODELS))
def test_the_gate_is_idle_only_if_no_call_may_start(pool, requests):
    requests = fitting(pool, requests)
    run = played(pool, requests)
    assert run.violations == []
    assert len(run.starts) == len(requests)
    assert [s.held for s in run.gate.sites] == [0] * len(pool)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(POOLS, REQUESTS)
def test_the_head_starts_no_later_than_without_back_filling(pool, requests):
    alike = [(r[0], r[1], r[2], Priority.NORMAL, "") for r in requests]
    requests = fitting(pool, alike)  # nobody more urgent comes between
    run = played(pool, requests)
    for head in sorted(set(run.held.passed)):
        without = played(pool, requests, frozen=head)
        # For a gain below the lateness a head does not move to another endpoint.
        late_s = LATENESS_S if len(pool) > 1 else 1e-5
        assert run.starts[head][0] <= without.starts[head][0] + late_s


def fitting(pool: tuple[Endpoint, ...], requests: list[Request]) -> list[Request]:
    """Leave out what no endpoint could ever hold."""
    most = max(e.limits.tokens_per_minute or 10**9 for e in pool)
    return [r for r in requests if r[1] <= most]
