"""Limits that nobody stated, or that headers lower, through the real gate.

Goal 6 of the algorithm notes, from a cold start: half an hour, saturated.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine_building import a_bench, answers_after
from headrace.app import RouteTools, build
from headrace.engine.crew import Crew
from headrace.errors import CallError, Throttled
from headrace.events import EndpointView, unheard
from headrace.model import Call, Endpoint, Limits, Quota, Reply, Retry, Trace
from headrace.providers.dialects import dialect_named
from headrace.simulation.meters import RateModel
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.scenario import Scenario
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.wire import HttpRequest

PER_MINUTE = 120
MODELS: list[RateModel] = ["token_bucket", "sliding_log", "fixed_minute"]
SCENARIO = Scenario(rpm=PER_MINUTE, latency="lognormal:1")


class Ended(msgspec.Struct):
    """How a saturated while ended."""

    refused: int
    per_minute: float
    """Calls accepted."""
    view: EndpointView


async def _saturated(limits: Limits, scenario: Scenario, span_s: float) -> Ended:
    clock, loop = VirtualClock(seed=1), asyncio.get_running_loop()
    upstream = Upstream(scenario, loop.time())
    provider = SimulatedProvider(upstream, clock, jitter_s=0.2)
    tools = RouteTools(clock, unheard)
    built = build(provider, (Endpoint("one", limits=limits),), Retry(), 600.0, tools)
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":10}'
    request = HttpRequest("/v1/chat/completions", body)
    model, cost = dialect_named("openai").describe(request)
    end_at, index = loop.time() + span_s, 0

    async def work() -> bool:
        nonlocal index
        if loop.time() >= end_at:
            return False
        index += 1
        call = Call(f"job-{index}", index, request, Trace(), model, cost=cost)
        try:
            async with asyncio.timeout_at(end_at):
                await built.handler(call)
        except (TimeoutError, CallError):
            pass
        return True

    await Crew(limits.most_in_flight + 8).run(work)
    refused = sum(upstream.tally.refused.values())
    accepted = (upstream.tally.calls - refused) * 60.0 / span_s
    return Ended(refused, accepted, built.gate.views()[0])


def saturated(limits: Limits, scenario: Scenario, span_s: float = 1_800.0) -> Ended:
    """Always have a next call for so long."""
    return run_virtual(_saturated(limits, scenario, span_s))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_limit_that_headers_tell_is_used_and_never_refused(model: RateModel) -> None:
    scenario = msgspec.structs.replace(SCENARIO, rate_model=model)
    ended = saturated(Limits(in_flight=50), scenario)
    print(f"{model}: {ended.per_minute / PER_MINUTE:.3f} used")
    assert ended.refused == 0
    assert ended.per_minute >= 0.95 * PER_MINUTE


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_limit_is_found_by_refusals_alone(model: RateModel) -> None:
    scenario = msgspec.structs.replace(SCENARIO, rate_model=model, headers=False)
    ended = saturated(Limits(in_flight=50), scenario)
    print(f"{model}: {ended.per_minute / PER_MINUTE:.3f} used, {ended.refused} refused")
    assert ended.refused <= 0.02 * 30 * PER_MINUTE
    assert ended.per_minute >= 0.8 * PER_MINUTE


@pytest.mark.slow
def test_tokens_that_headers_limit_are_used_and_never_refused() -> None:
    scenario = Scenario(tpm=3_000, rate_model="sliding_log", latency="lognormal:1")
    ended = saturated(Limits(in_flight=50), scenario)
    assert ended.refused == 0
    assert {r.dimension for r in ended.view.learnt} == {"tokens"}


@pytest.mark.slow
@pytest.mark.parametrize(("stated", "told", "held"), [(600, 300, 300), (300, 600, 300)])
def test_headers_lower_a_stated_limit_and_never_raise_it(
    stated: int, told: int, held: int
) -> None:
    scenario = Scenario(rpm=told, rate_model="sliding_log", latency="lognormal:1")
    limits = Limits(in_flight=50, calls_per_minute=stated)
    ended = saturated(limits, scenario, span_s=600.0)
    assert ended.refused == 0
    assert 0.95 * held <= ended.per_minute <= held


def test_what_was_learnt_is_shown_with_its_source() -> None:
    ended = saturated(Limits(in_flight=4), SCENARIO, span_s=20.0)
    [rate] = ended.view.learnt
    assert (rate.model, rate.dimension, rate.per_minute) == ("m", "calls", PER_MINUTE)
    assert (rate.source, rate.blocked_s) == ("headers", 0.0)
    assert 0 < rate.used <= 1


def test_what_waits_for_a_learnt_rate_says_so() -> None:
    async def main() -> str:
        async def answer(_call: Call, _endpoint: Endpoint) -> Any:
            return Reply("ok", quotas=(Quota("calls", 2, 1),))

        bench = a_bench(answer, limits=Limits(in_flight=8))
        await bench.call("first")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bench.call(str(i))) for i in range(4)]
            await asyncio.sleep(1.0)
            found = bench.built.gate.binding()
            for task in tasks:
                task.cancel()
        return found

    assert run_virtual(main()) == "learnt_calls"


def test_a_refusal_for_one_rate_leaves_another_model_alone() -> None:
    async def main() -> float:
        async def answer(call: Call, _endpoint: Endpoint) -> Any:
            if call.model == "full":
                raise Throttled("no", retry_after_s=50.0, dimension="tokens")
            return await answers_after(1.0)

        bench = a_bench(answer, limits=Limits(in_flight=8))
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(bench.call("x", model="full", tokens=5))
        await asyncio.sleep(1.0)
        begun = loop.time()
        await bench.call("y", model="free", tokens=5)
        waiting.cancel()
        return loop.time() - begun

    assert run_virtual(main()) == pytest.approx(1.0)


def test_nothing_of_a_refused_rate_starts_before_its_time() -> None:
    async def main() -> list[float]:
        begun = asyncio.get_running_loop().time()

        async def answer(_call: Call, _endpoint: Endpoint) -> Any:
            if asyncio.get_running_loop().time() < begun + 30.0:
                raise Throttled("no", retry_after_s=30.0, dimension="calls")
            return "done"

        bench = a_bench(answer, limits=Limits(in_flight=1))
        await asyncio.gather(*[bench.call(str(i)) for i in range(5)])
        return [at - begun for at, _, _ in bench.provider.started]

    first, *others = run_virtual(main())
    assert first == 0.0
    assert min(others) >= 30.0
