"""Whose items a process starts next, when several jobs of a store have work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from engine_building import a_bench
from headrace.clock import SystemClock
from headrace.engine.served import Served
from headrace.engine.session import Session, SessionTools
from headrace.engine.shutdown import Shutdown
from headrace.events import unheard
from headrace.jobs import Flow, Job, Leased
from headrace.model import Call, Cost, Endpoint, Limits, Outcome, Priority, Trace
from headrace.stores.memory import MemoryStore
from headrace.testing.store_world import submit


class Silent:
    """Shows nothing."""

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        return

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        return {}


def make_call(lease: Leased, flow: Flow) -> Call:
    return Call(
        f"{flow.job_id}-{lease.seq}",
        lease.seq,
        None,
        Trace(),
        flow=f"{flow.tenant}/{flow.job_id}",
        priority=flow.priority,
        cost=Cost(),
        tenant=flow.tenant,
    )


class Shop:
    """A session on a store in memory, whose calls end when they are told to."""

    def __init__(self, in_flight: int) -> None:
        self.started: list[Call] = []
        self._ends: list[asyncio.Event] = []
        self.came = asyncio.Event()
        self.store = MemoryStore(SystemClock())
        built = a_bench(self.answer, limits=Limits(in_flight=in_flight)).built
        served = Served(
            "r", built.gate, built.handler, built.crew, make_call, str.encode
        )
        self.shutdown = Shutdown()
        tools = SessionTools(
            self.store, SystemClock(), Silent(), unheard, self.shutdown
        )
        self.session = Session([served], tools)

    async def answer(self, call: Call, _endpoint: Endpoint) -> str:
        self.started.append(call)
        end = asyncio.Event()
        self._ends.append(end)
        self.came.set()
        await end.wait()
        return "done"

    async def until_started(self, count: int) -> None:
        """Wait until so many calls have started since the session began."""
        while len(self.started) < count:
            self.came.clear()
            await self.came.wait()

    async def settle(self) -> None:
        """Let the session do all that it can do without an end of a call."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def end_one(self) -> None:
        """End the oldest call under way, and wait for the one that takes its slot."""
        self._ends.pop(0).set()
        await self.until_started(len(self.started) + 1)

    async def close(self, session: asyncio.Task[None]) -> None:
        self.shutdown.request()
        self.shutdown.request()
        await session


def test_urgent_items_start_next_though_sixty_others_were_first() -> None:
    async def main() -> list[Priority]:
        shop = Shop(in_flight=4)
        await submit(shop.store, 60, priority=Priority.LOW)
        session = asyncio.create_task(shop.session.run())
        await shop.until_started(4)
        await submit(shop.store, 5, priority=Priority.URGENT)
        shop.session.look()
        await shop.settle()
        for _ in range(6):
            await shop.end_one()
        await shop.close(session)
        return [call.priority for call in shop.started[4:]]

    found = asyncio.run(main())
    assert found == [Priority.URGENT] * 5 + [Priority.LOW]


def test_a_small_tenant_waits_as_if_it_shared_with_one_item_of_the_large_one() -> None:
    async def main() -> list[str]:
        shop = Shop(in_flight=8)
        await submit(shop.store, 10_000, tenant="large")
        session = asyncio.create_task(shop.session.run())
        await shop.until_started(8)
        await submit(shop.store, 100, tenant="small")
        shop.session.look()
        for _ in range(260):
            await shop.end_one()
        await shop.close(session)
        return [call.tenant for call in shop.started[8:]]

    found = asyncio.run(main())
    # Those leased before go first; from then on, the two start in turn.
    last = max(place for place, tenant in enumerate(found) if tenant == "small")
    assert found.count("small") == 100
    assert last <= 2 * 100 + 28 + 2
