"""Limits and budgets of keys hold for items of jobs, and for calls made at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from headrace.engine.crew import Crew
from headrace.engine.keyed import Keyed, Portions
from headrace.engine.keymeters import Full
from headrace.engine.keypurses import KeyPurses
from headrace.errors import BudgetSpent, LimitExceeded
from headrace.jobs import Flow
from headrace.model import Call, Cost, Handler, Priority, Reply, Trace
from headrace.service.keybook import KeyBook
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore
from headrace.terms import BudgetWindow, KeyBudget, KeyLimits, KeyTerms

KEY = "key_1"
DOLLAR = 1_000_000_000
"""In nano-dollars."""


class World:
    """Keys, and a handler that takes a second a call."""

    def __init__(self, limits: KeyLimits = KeyLimits()) -> None:
        self.clock = VirtualClock()
        self.book = KeyBook(MemoryStore(self.clock).documents(), self.clock)
        self.terms = KeyTerms(limits)
        self.keyed = Keyed(self.find, self.book, self.clock)
        self.keyed.know(KEY, self.terms)
        self.crew = Crew(8)
        self.started: list[float] = []
        self.now = self.peak = 0

    async def find(self, _: str) -> KeyTerms:
        return self.terms

    async def answer(self, _: Call) -> Reply:
        self.started.append(self.clock.monotonic())
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await self.clock.sleep(1)
        finally:
            self.now -= 1
        return Reply("done")

    @property
    def limited(self) -> Handler:
        return self.keyed.limiting(self.crew)(self.answer)

    def purses(self) -> KeyPurses:
        """Return the purses of one more process."""
        return KeyPurses(self.book, self.clock)


def an_item(key: str = KEY, tokens: int = 0) -> Call:
    return Call("a-1", 1, None, Trace(), cost=Cost(tokens), job=1, key=key)


def a_budget(usd: str, window: BudgetWindow = "total") -> KeyBudget:
    return KeyBudget(Decimal(usd), window)


# ---- limits


def test_items_of_a_key_run_only_so_many_at_a_time() -> None:
    async def main() -> World:
        world = World(KeyLimits(in_flight=2))
        items = [world.limited(an_item()) for _ in range(6)]
        others = [world.limited(an_item("key_2")) for _ in range(6)]
        await asyncio.gather(*items)
        assert world.clock.monotonic() == 1_003.0
        await asyncio.gather(*others)
        return world

    assert run_virtual(main()).crew.resting == 0


def test_items_of_a_key_start_at_the_pace_of_its_limit() -> None:
    async def main() -> list[float]:
        world = World(KeyLimits(calls_per_minute=60))
        await asyncio.gather(*(world.limited(an_item()) for _ in range(90)))
        return world.started

    started = run_virtual(main())
    assert len(started) == 90
    assert all(b - a >= 60 for a, b in zip(started, started[60:], strict=False))
    assert started[-1] - started[0] < 95


def test_an_item_that_no_minute_can_hold_is_refused() -> None:
    async def main() -> None:
        world = World(KeyLimits(tokens_per_minute=100))
        with pytest.raises(LimitExceeded, match="allowed with key key_1 are 100"):
            await world.limited(an_item(tokens=101))

    run_virtual(main())


def test_a_call_that_was_refused_goes_before_the_items_when_it_comes_again() -> None:
    async def main() -> int:
        limits = KeyLimits(in_flight=1)
        world = World(limits)
        items = [asyncio.ensure_future(world.limited(an_item())) for _ in range(3)]
        await world.clock.sleep(0.1)
        refused = world.keyed.meters.try_enter(KEY, limits, 0)
        assert isinstance(refused, Full)
        assert refused.limit == "in_flight"
        await world.clock.sleep(refused.wait_s)
        leave = world.keyed.meters.try_enter(KEY, limits, 0)
        assert not isinstance(leave, Full)
        started = len(world.started)
        leave()
        await asyncio.gather(*items)
        return started

    assert run_virtual(main()) == 1


def test_an_item_that_is_cancelled_while_it_waits_holds_nothing() -> None:
    async def main() -> int:
        world = World(KeyLimits(in_flight=1))
        items = [asyncio.ensure_future(world.limited(an_item())) for _ in range(3)]
        await world.clock.sleep(0.1)
        items[1].cancel()
        await asyncio.gather(*items, return_exceptions=True)
        return len(world.started)

    assert run_virtual(main()) == 2


def flow(job: int, key: str) -> Flow:
    return Flow(job, f"job_{job}", "r", Priority.NORMAL, "t", left=100, key=key)


def test_no_more_items_are_leased_than_their_key_lets_start() -> None:
    async def main() -> list[tuple[int, int]]:
        world = World(KeyLimits(in_flight=8))

        async def find(key: str) -> KeyTerms:
            return world.terms if key == KEY else KeyTerms()

        keyed = Keyed(find, world.book, world.clock)
        flows = [flow(1, KEY), flow(2, KEY), flow(3, "key_2"), flow(4, "")]
        some = await keyed.portions(flows, lambda: Counter({KEY: 3}))
        none = await keyed.portions(flows, lambda: Counter({KEY: 10}))
        assert [f.job for f in none.flows] == [3, 4]
        return some.cut([(1, 20), (2, 50), (3, 50), (4, 50)])

    assert run_virtual(main()) == [(1, 2), (2, 5), (3, 50), (4, 50)]


def test_the_jobs_of_a_key_take_turns() -> None:
    flows = [flow(job, KEY) for job in (1, 2, 3)]
    wants = [(1, 10), (2, 10), (3, 10)]
    firsts = [Portions(flows, {KEY: 1}, turn).cut(wants) for turn in range(3)]
    assert firsts == [[(1, 1)], [(2, 1)], [(3, 1)]]


# ---- budgets


def test_processes_share_the_budget_of_a_key() -> None:
    async def main() -> int:
        world, paid = World(), 0
        budget = a_budget("1")
        for purses in (world.purses(), world.purses()):
            try:
                while True:
                    hold = await purses.take(KEY, budget, DOLLAR // 10)
                    purses.settle(hold, DOLLAR // 10)
                    paid += 1
            except BudgetSpent as error:
                told = str(error)
            assert told.startswith("budget of key key_1: ")
            await purses.tidy(all_of_it=True)
        assert await world.purses().left(KEY, budget) == 0
        return paid

    assert run_virtual(main()) == 10


def test_money_is_spent_in_the_store_before_a_call_is_sent() -> None:
    async def main() -> int:
        world, budget = World(), a_budget("1")
        await world.purses().take(KEY, budget, DOLLAR // 4)  # and the process dies
        return await world.purses().left(KEY, budget)

    assert 0.73 * DOLLAR < run_virtual(main()) <= 0.75 * DOLLAR


def test_what_was_drawn_and_not_used_goes_back() -> None:
    async def main() -> int:
        world, budget = World(), a_budget("1")
        purses = world.purses()
        hold = await purses.take(KEY, budget, DOLLAR // 4)
        purses.settle(hold, 1)
        await purses.tidy()
        await purses.tidy()
        return await world.purses().left(KEY, budget)

    assert run_virtual(main()) == DOLLAR - 1


def test_a_call_waits_for_the_money_of_one_under_way() -> None:
    async def main() -> float:
        world, budget = World(), a_budget("1")
        purses = world.purses()
        first = await purses.take(KEY, budget, DOLLAR)
        asyncio.get_running_loop().call_later(5, purses.settle, first, 0)
        second = await purses.take(KEY, budget, DOLLAR // 2)
        purses.settle(second, 0)
        return world.clock.monotonic()

    assert run_virtual(main()) == 1_005.0


def test_a_budget_of_a_day_begins_anew_with_the_next_one() -> None:
    async def main() -> None:
        world, budget = World(), a_budget("1", "day")
        purses = world.purses()
        purses.settle(await purses.take(KEY, budget, DOLLAR), DOLLAR)
        with pytest.raises(BudgetSpent, match=r"in 2025-06-15: 1\.00 of 1\.00 USD"):
            await purses.take(KEY, budget, DOLLAR // 2)
        await world.clock.sleep(86_400)
        await purses.take(KEY, budget, DOLLAR)

    run_virtual(main())


def test_a_call_that_cost_more_than_was_set_aside_is_booked_in_full() -> None:
    async def main() -> int:
        world, budget = World(), a_budget("1")
        purses = world.purses()
        hold = await purses.take(KEY, budget, DOLLAR // 2)
        purses.settle(hold, 3 * DOLLAR)
        await purses.tidy()
        return await world.purses().left(KEY, budget)

    assert run_virtual(main()) == -2 * DOLLAR
