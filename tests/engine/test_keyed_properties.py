"""Whatever processes do and whenever they die, a key's budget and limits hold."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.crew import Crew
from headrace.engine.keymeters import Full, KeyMeters
from headrace.engine.keypurses import KeyHold, KeyPurses
from headrace.errors import BudgetSpent
from headrace.service.keybook import KeyBook
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore
from headrace.terms import KeyBudget, KeyLimits

KEY = "key_1"
MOST = 1_000
"""Nano-dollars."""
BUDGET = KeyBudget(Decimal("0.000001"))
PROCESSES = 3

Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(("take", "take", "settle", "tidy", "die")),
        st.integers(0, PROCESSES - 1),
        st.integers(0, 400),
    ),
    max_size=40,
)


class Processes:
    """Several processes on one ledger, and what was truly spent."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.book = KeyBook(MemoryStore(self.clock).documents(), self.clock)
        self.purses = [self._process() for _ in range(PROCESSES)]
        self.holds: list[list[tuple[KeyHold, int]]] = [[] for _ in self.purses]
        self.spent = 0
        self.lost = 0
        """Set aside by calls whose process has died; they may have been billed."""

    def _process(self) -> KeyPurses:
        return KeyPurses(self.book, self.clock)

    async def take(self, n: int, nano: int) -> None:
        try:
            async with asyncio.timeout(0.01):  # else it waits for calls under way
                hold = await self.purses[n].take(KEY, BUDGET, nano)
        except (BudgetSpent, TimeoutError):
            return
        self.holds[n].append((hold, nano))

    async def settle(self, n: int, nano: int) -> None:
        if self.holds[n]:
            hold, most = self.holds[n].pop()
            self.purses[n].settle(hold, min(nano, most))
            self.spent += min(nano, most)

    async def tidy(self, n: int, nano: int) -> None:
        await self.purses[n].tidy(all_of_it=nano % 2 == 0)

    async def die(self, n: int, _: int) -> None:
        self.lost += sum(nano for _, nano in self.holds[n])
        self.purses[n], self.holds[n] = self._process(), []

    @property
    def held(self) -> int:
        return sum(nano for holds in self.holds for _, nano in holds)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_no_more_is_spent_than_was_booked_and_no_more_booked_than_may(
    course: list[Step],
) -> None:
    async def main() -> None:
        world = Processes()
        for what, n, nano in course:
            await getattr(world, what)(n, nano)
            booked = (await world.book.use(KEY)).nano
            assert world.spent + world.held + world.lost <= booked <= MOST
        for purses in world.purses:
            await purses.tidy(all_of_it=True)
        if not any(what == "die" for what, _, _ in course):
            booked = (await world.book.use(KEY)).nano
            assert booked == world.spent + world.held

    run_virtual(main())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 20)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 30),
)
def test_calls_and_items_of_a_key_stay_within_both_limits_and_every_item_goes(
    comes: list[tuple[bool, float]], in_flight: int, per_minute: int
) -> None:
    limits = KeyLimits(calls_per_minute=per_minute, in_flight=in_flight)

    async def main() -> None:
        clock = VirtualClock()
        meters, crew = KeyMeters(clock), Crew(4)
        started: list[float] = []
        under_way = 0

        async def one(*, is_item: bool, at: float) -> None:
            nonlocal under_way
            await clock.sleep(at)
            if is_item:
                leave = await meters.enter(KEY, limits, 0, crew)
            else:
                found = meters.try_enter(KEY, limits, 0)
                if isinstance(found, Full):
                    return
                leave = found
            started.append(clock.monotonic())
            under_way += 1
            assert under_way <= in_flight
            await clock.sleep(0.5)
            under_way -= 1
            leave()

        await asyncio.gather(*(one(is_item=i, at=at) for i, at in comes))
        assert len(started) >= sum(is_item for is_item, _ in comes)
        for first, next_one in zip(started, started[per_minute:], strict=False):
            assert next_one - first >= 60

    run_virtual(main())
