"""Runs a scenario through the real gate and its layers, on virtual time."""

from __future__ import annotations

import asyncio
import math

import msgspec

from headrace.app import RouteTools, build
from headrace.clock import Clock
from headrace.errors import CallError, Rejected
from headrace.events import unheard
from headrace.model import Call, Cost, Handler, Trace
from headrace.providers.dialects.openai import OPENAI
from headrace.simulation.measures import Benchmark, benchmark_of, measure
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.recorder import Record, Recorder
from headrace.simulation.scenario import Scenario
from headrace.simulation.trial import Best, Group, Trial
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.wire import HttpRequest

_MOMENTS_A_DURATION = 10
_MOST_MOMENTS = 2_000


class Rehearsal(msgspec.Struct, frozen=True):
    """One run of a scenario with one seed, and what it is measured against."""

    trial: Trial
    seed: int
    record: Record
    benchmarks: tuple[Benchmark, ...]
    """The best fixed limit of each phase."""
    measures: dict[str, float]


def rehearse(
    trial: Trial, seed: int, benchmarks: tuple[Benchmark, ...] | None = None
) -> Rehearsal:
    """Run a scenario once.

    Args:
        trial: the scenario.
        seed: same seed, same run.
        benchmarks: those of the same scenario and seed, if they are known already.
    """
    benchmarks = benchmarks or find_benchmarks(trial, seed)
    span_s = trial.duration_s or benchmarks[0].makespan_s
    interval_s = max(
        benchmarks[0].duration_s / _MOMENTS_A_DURATION, span_s / _MOST_MOMENTS
    )
    record = run_virtual(_perform(trial, seed, interval_s))
    found = measure(trial, record, benchmarks)
    return Rehearsal(trial, seed, record, benchmarks, found)


def find_benchmarks(trial: Trial, seed: int) -> tuple[Benchmark, ...]:
    """Run each phase of a scenario under its best fixed limit."""
    count = len(trial.edges_s)
    return tuple(_benchmark(trial, number, seed) for number in range(count))


def _benchmark(trial: Trial, number: int, seed: int) -> Benchmark:
    phase = trial.phase(number).without(trial.best.without)
    found = [
        benchmark_of(n, run_virtual(_perform(phase.with_in_flight(n), seed, math.inf)))
        for n in _candidates(phase, trial.best, number)
    ]
    return max(found, key=lambda benchmark: benchmark.per_s)


def _candidates(phase: Trial, best: Best, number: int) -> tuple[int, ...]:
    """Return the fixed limits of which one is the best."""
    if best.search:
        return best.search
    if best.in_flight:
        return (best.in_flight[number if len(best.in_flight) > 1 else 0],)
    return (min(map(_capacity, phase.upstreams.values()), default=0) or _open(phase),)


def _capacity(scenario: Scenario) -> int:
    if scenario.cap is not None:
        return scenario.cap
    return scenario.knee.level if scenario.knee is not None else 0


def _open(phase: Trial) -> int:
    return phase.limits.max_in_flight


async def _perform(trial: Trial, seed: int, interval_s: float) -> Record:
    """Make all calls of a scenario; stop at its end, whatever is under way."""
    clock = VirtualClock(seed)
    now = clock.monotonic()
    upstreams = {
        name: Upstream(_seeded(scenario, seed, place), now)
        for place, (name, scenario) in enumerate(trial.upstreams.items())
    }
    provider = SimulatedProvider(upstreams, clock, jitter_s=trial.jitter_s)
    built = build(
        provider,
        trial.endpoints,
        trial.retry,
        trial.timeout_s,
        RouteTools(clock, unheard),
    )
    recorder = Recorder(built.gate, upstreams, clock)
    watching = asyncio.create_task(recorder.watch(interval_s))
    try:
        async with asyncio.timeout(trial.duration_s), asyncio.TaskGroup() as everybody:
            for group in trial.workload:
                caller = _Caller(group, built.handler, clock, recorder)
                everybody.create_task(caller.run())
    except TimeoutError:
        pass  # the end of the scenario
    finally:
        watching.cancel()
        record = recorder.record()
        await built.close()
    return record


def _seeded(scenario: Scenario, seed: int, place: int) -> Scenario:
    """Give each endpoint chance of its own, and count no ids: nobody asks for them."""
    return msgspec.structs.replace(
        scenario, seed=scenario.seed + 1_000 * seed + place, max_ids=0
    )


class _Caller:
    """Makes the calls of one group."""

    def __init__(
        self, group: Group, handler: Handler, clock: Clock, recorder: Recorder
    ) -> None:
        self._group = group
        self._handler = handler
        self._clock = clock
        self._recorder = recorder
        self._made = 0
        body = {"model": "sim", "prompt": "How far?", "max_tokens": group.max_tokens}
        self._request = HttpRequest("/v1/completions", msgspec.json.encode(body))
        self._cost: Cost = OPENAI.describe(self._request)[1]

    async def run(self) -> None:
        """Make all calls; return when the last one has ended."""
        group = self._group
        if group.at_s:
            await self._clock.sleep(group.at_s)
        async with asyncio.TaskGroup() as calls:
            if group.arrival == "backlog":
                most = group.calls or group.callers
                for _ in range(min(group.callers, most)):
                    calls.create_task(self._work())
            else:
                await self._arrive(calls)

    async def _work(self) -> None:
        """Make one call after another."""
        while self._is_left():
            await self._call(self._take_number())

    async def _arrive(self, calls: asyncio.TaskGroup) -> None:
        """Let calls come when they come, whatever becomes of those before."""
        group = self._group
        at_once = group.burst or 1
        pause_s = group.every_s or 1.0 / (group.per_s or 1.0)
        begun_s, number = self._clock.monotonic(), 0
        while self._is_left():
            for _ in range(at_once):
                if self._is_left():
                    calls.create_task(self._call(self._take_number()))
            number += 1
            next_s = begun_s + number * pause_s
            await self._clock.sleep(next_s - self._clock.monotonic())

    def _is_left(self) -> bool:
        return self._group.calls is None or self._made < self._group.calls

    def _take_number(self) -> int:
        self._made += 1
        return self._made - 1

    async def _call(self, index: int) -> None:
        group = self._group
        call = Call(
            f"{group.name}-{index}",
            index,
            self._request,
            Trace(),
            flow=f"{group.tenant}/{group.name}",
            priority=group.rank,
            cost=self._cost,
        )
        try:
            await self._handler(call)
        except (CallError, Rejected):
            self._recorder.note_ending(group.name, call.trace, is_ok=False)
        else:
            self._recorder.note_ending(group.name, call.trace, is_ok=True)
