"""Checks of endpoints that are cut off or idle, on virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from headrace.app import Built, RouteTools, build
from headrace.engine.checking import Checking
from headrace.events import unheard
from headrace.model import Call, Endpoint, Limits, Retry, Trace
from headrace.providers.dialects import dialect_named
from headrace.providers.http import HttpProvider
from headrace.providers.transport import Outgoing
from headrace.simulation.scenario import Outage, Scenario
from headrace.simulation.transport import SimulatedTransport
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import START_S, VirtualClock, run_virtual
from headrace.wire import HttpRequest

OPENAI = dialect_named("openai")
BODY = b'{"model":"m","messages":[{"role":"user","content":"?"}]}'
DOWN = Outage(40.0, 100.0, "refuse")


class Town:
    """Several simulated providers behind one transport; notes who is asked what."""

    def __init__(self, **scenarios: Scenario) -> None:
        self.clock = VirtualClock()
        self.asked: list[tuple[float, str, str]] = []
        self._houses = {
            name: SimulatedTransport(
                Upstream(scenario, self.clock.monotonic()), self.clock
            )
            for name, scenario in scenarios.items()
        }
        limits = Limits(in_flight=4)
        via = HttpProvider(OPENAI, lambda _: "k", transport=self, clock=self.clock)
        self.built: Built = build(
            via,
            tuple(Endpoint(n, f"http://{n}", limits=limits) for n in scenarios),
            Retry(),
            60.0,
            RouteTools(self.clock, unheard),
        )
        self.checking = Checking(self.built.gate, OPENAI.check_paths, via.look)
        self.checking.start()

    async def send(self, request: Outgoing) -> Any:
        host = request.url.host or ""
        at = self.clock.monotonic() - START_S
        self.asked.append((at, host, request.method))
        return await self._houses[host].send(request)

    async def close(self) -> None:
        pass

    async def work(self, until_s: float) -> None:
        """Call all the time, with two calls at once."""

        async def one(number: int) -> None:
            while self.clock.monotonic() - START_S < until_s:
                request = HttpRequest("/v1/chat/completions", BODY)
                await self.built.handler(Call(f"{number}", 0, request, Trace()))

        await asyncio.gather(one(0), one(1))

    async def leave(self) -> Town:
        await self.checking.close()
        await self.built.close()
        return self

    def count(self, host: str, method: str, from_s: float, to_s: float) -> int:
        found = Counter((h, m) for at, h, m in self.asked if from_s <= at < to_s)
        return found[host, method]

    def state(self, name: str) -> str:
        return {view.name: view.state for view in self.built.pool.views()}[name]


def a_well_one(**fields: Any) -> Scenario:
    return msgspec.structs.replace(Scenario(latency="constant:0.5"), **fields)


def test_no_call_probes_a_dead_endpoint_and_it_is_back_soon() -> None:
    async def main() -> Town:
        town = Town(bad=a_well_one(outages=(DOWN,)), good=a_well_one())
        await town.work(140.0)
        return await town.leave()

    town = run_virtual(main())
    assert town.count("bad", "POST", 50.0, 100.0) == 0
    assert 3 <= town.count("bad", "GET", 40.0, 100.0) <= 5
    assert town.count("bad", "POST", 100.0, 136.0) > 0
    assert town.count("good", "GET", 0.0, 140.0) == 0


def test_an_idle_endpoint_that_has_died_is_cut_off_before_a_call_finds_out() -> None:
    async def main() -> tuple[str, Town]:
        town = Town(bad=a_well_one(outages=(DOWN,)), good=a_well_one())
        await asyncio.sleep(85.0)
        state = town.state("bad")
        await town.work(95.0)
        return state, await town.leave()

    state, town = run_virtual(main())
    assert state == "open"
    assert town.count("bad", "POST", 0.0, 100.0) == 0
    assert town.count("bad", "GET", 0.0, 40.0) == 1


def test_an_endpoint_that_only_fails_calls_is_judged_by_calls() -> None:
    async def main() -> Town:
        bad = a_well_one(error_rate=1.0)
        town = Town(bad=bad, good=a_well_one())
        await town.work(200.0)
        return await town.leave()

    town = run_virtual(main())
    # 5 to be cut off, then a probe after 5, 10, 20, 40 and 80 s.
    assert town.count("bad", "POST", 0.0, 200.0) <= 12
    assert town.count("bad", "GET", 0.0, 200.0) <= 10


@pytest.mark.parametrize("others", [(), ("good",)])
def test_a_lone_endpoint_is_not_checked(others: tuple[str, ...]) -> None:
    async def main() -> Town:
        town = Town(one=a_well_one(), **{name: a_well_one() for name in others})
        await asyncio.sleep(100.0)
        return await town.leave()

    town = run_virtual(main())
    assert town.count("one", "GET", 0.0, 100.0) == (3 if others else 0)


def test_nothing_is_checked_once_it_is_closed() -> None:
    async def main() -> tuple[int, Town]:
        town = await Town(a=a_well_one(), b=a_well_one()).leave()
        await asyncio.sleep(100.0)
        return len(town.asked), await town.leave()

    assert run_virtual(main())[0] == 0
