"""How a gate treats a pool in which some are sick, slow, or serve other models."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.errors import (
    BadReply,
    ErrorCode,
    Overloaded,
    Throttled,
    TransientError,
    Unauthorised,
    Unreachable,
)
from headrace.model import Call, Endpoint, Limits, Outcome, Retry
from headrace.simulation.virtual import START_S, run_virtual

FOUR = tuple(Endpoint(f"e{i}", limits=Limits(in_flight=8)) for i in range(4))
PATIENT = Retry(max_attempts=20)


def now() -> float:
    return asyncio.get_running_loop().time() - START_S


async def calls(bench: Bench, count: int, **fields: Any) -> list[Outcome]:
    return await asyncio.gather(
        *[bench.call(str(i), index=i, **fields) for i in range(count)]
    )


def calls_by_endpoint(bench: Bench) -> Counter[str]:
    return Counter(name for _, _, name in bench.provider.started)


def states(bench: Bench) -> dict[str, str]:
    return {view.name: view.state for view in bench.built.gate.views()}


# ---- goal 10, goal 9


def time_of(answer: Any, count: int = 2_000) -> tuple[float, Bench, list[Outcome]]:
    async def main() -> tuple[float, Bench, list[Outcome]]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        outcomes = await calls(bench, count)
        return now(), bench, outcomes

    return run_virtual(main())


THREE_S = 2_000 / (3 * 8)
"""What three good endpoints take for 2,000 calls of a second."""


@pytest.mark.slow
def test_one_of_four_ten_times_slower_costs_at_most_a_twentieth() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        return await answers_after(10.0 if endpoint.name == "e0" else 1.0)

    spent_s, _, outcomes = time_of(answer)
    assert all(each.ok for each in outcomes)
    assert spent_s <= THREE_S / 0.95


@pytest.mark.slow
def test_one_of_four_that_fails_half_costs_at_most_a_twentieth() -> None:
    turns = Counter[str]()

    async def answer(call: Call, endpoint: Endpoint) -> str:
        turns[endpoint.name] += 1
        await asyncio.sleep(1.0)
        if endpoint.name == "e0" and turns["e0"] % 2:
            raise TransientError("bad luck")
        return "done"

    spent_s, _, outcomes = time_of(answer)
    assert all(each.ok for each in outcomes)
    assert spent_s <= THREE_S / 0.95


def test_a_dead_endpoint_is_cut_off_after_five_failures_beyond_those_in_flight() -> (
    None
):
    async def answer(call: Call, endpoint: Endpoint) -> str:
        if endpoint.name == "e0":
            await asyncio.sleep(0.001)
            raise Unreachable("refused")
        return await answers_after(1.0)

    async def main() -> tuple[int, bool]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        outcomes = await calls(bench, 100)
        return calls_by_endpoint(bench)["e0"], all(each.ok for each in outcomes)

    tries, all_ok = run_virtual(main())
    assert all_ok
    assert tries <= 8 + 5


def test_an_endpoint_that_is_well_again_serves_after_its_pause_and_two_probes() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.1)
        if endpoint.name == "e0" and now() < 2.0:
            raise Unreachable("refused")
        return "done"

    async def main() -> float:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        async with asyncio.TaskGroup() as group:
            for i in range(1_200):
                group.create_task(bench.call(str(i)))
                await asyncio.sleep(0.01)
        states = [e for e in bench.events if getattr(e, "endpoint", "") == "e0"]
        assert getattr(states[-1], "state", "") == "closed"
        return next(
            at - START_S
            for at, _, name in bench.provider.started
            if name == "e0" and at > START_S + 2.0
        )

    assert run_virtual(main()) <= 6.1 + 0.2


def test_while_an_endpoint_is_probed_exactly_one_call_is_risked() -> None:
    at_once = Counter[str]()

    async def answer(call: Call, endpoint: Endpoint) -> str:
        if endpoint.name != "e0":
            return await answers_after(0.5)
        at_once["now"] += 1
        if now() > 1.0:
            at_once["most"] = max(at_once["most"], at_once["now"])
        await asyncio.sleep(0.2)
        at_once["now"] -= 1
        raise Unreachable("refused")

    async def main() -> None:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        await calls(bench, 2_000)

    run_virtual(main())
    assert at_once["most"] == 1


def test_a_fast_endpoint_stays_full_beside_a_slow_one_that_is_idle() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        return await answers_after(2.0 if endpoint.name == "e0" else 0.2)

    async def main() -> float:
        bench = a_bench(answer, endpoints=FOUR[:2])
        outcomes = await calls(bench, 1_200)
        assert all(each.ok for each in outcomes)
        return now()

    assert run_virtual(main()) <= 1_200 * 0.2 / 8 / 0.95


@pytest.mark.parametrize(("backlog", "is_used"), [(10_000, True), (0, False)])
def test_a_slow_endpoint_is_used_as_long_as_many_more_calls_will_come(
    backlog: int, *, is_used: bool
) -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        return await answers_after(4.0 if endpoint.name == "e0" else 0.4)

    async def main() -> float:
        bench = a_bench(answer, endpoints=FOUR[:2])
        bench.built.gate.backlog = backlog
        numbers = iter(range(1_000))

        async def work() -> None:
            for number in numbers:
                await bench.call(str(number), index=number)

        await asyncio.gather(*[work() for _ in range(18)])
        return calls_by_endpoint(bench)["e0"] / 1_000

    share = run_virtual(main())
    assert (0.06 <= share <= 0.1) if is_used else (share <= 0.05)


# ---- the pool rule


def test_where_most_fail_now_and_then_they_are_used_beside_the_dead() -> None:
    turns = Counter[str]()

    async def answer(call: Call, endpoint: Endpoint) -> str:
        turns[endpoint.name] += 1
        await asyncio.sleep(1.0)
        if endpoint.name == "e0":
            raise Unreachable("refused")
        if turns[endpoint.name] % 2:
            raise TransientError("bad luck")
        return "done"

    _, bench, outcomes = time_of(answer, 600)
    assert all(each.ok for each in outcomes)
    found = calls_by_endpoint(bench)
    assert min(found[name] for name in ("e1", "e2", "e3")) > 100
    assert found["e0"] < 40


def test_a_single_endpoint_may_be_cut_off_and_its_calls_wait() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.1)
        if now() < 20.0:
            raise TransientError("down")
        return "done"

    async def main() -> tuple[int, bool]:
        one = (Endpoint("one", limits=Limits(in_flight=8)),)
        bench = a_bench(answer, endpoints=one, retry=PATIENT)
        outcomes = await calls(bench, 50)
        return len(bench.provider.started), all(each.ok for each in outcomes)

    tries, all_ok = run_virtual(main())
    assert all_ok
    assert tries < 50 + 20


def test_a_refused_key_keeps_an_endpoint_out_though_most_are_sick() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.1)
        if endpoint.name in ("e0", "e1", "e2"):
            raise Unauthorised("no")
        return "done"

    async def main() -> tuple[int, Counter[str]]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        outcomes = await calls(bench, 300)
        return sum(each.ok for each in outcomes), calls_by_endpoint(bench)

    answered, found = run_virtual(main())
    assert max(found[name] for name in ("e0", "e1", "e2")) <= 8 + 5
    assert answered >= 300 - 3 * 13


def test_an_endpoint_that_only_refuses_is_parked_after_a_minute() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.1)
        if endpoint.name == "e0":
            raise Throttled("too many", retry_after_s=2.0)
        return await answers_after(4.0)

    async def main() -> list[str]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        await calls(bench, 600)
        return [
            getattr(e, "reason", "")
            for e in bench.events
            if getattr(e, "state", "") == "open"
        ]

    assert "calls refused within" in run_virtual(main())[0]


def test_an_endpoint_that_asks_for_an_hour_is_left_alone_for_it() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.1)
        if endpoint.name == "e0":
            raise Overloaded("come back later", retry_after_s=3_600.0)
        return "done"

    async def main() -> tuple[int, float]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        await calls(bench, 40)
        site = bench.built.gate.sites[0]
        assert site.breaker.retry_at is not None
        return calls_by_endpoint(bench)["e0"], site.breaker.retry_at - START_S

    tries, until_s = run_virtual(main())
    assert tries <= 8
    assert until_s >= 3_600.0


def test_an_endpoint_that_is_well_again_begins_with_few_calls() -> None:
    at_once: list[tuple[float, int]] = []
    running = Counter[str]()

    async def answer(call: Call, endpoint: Endpoint) -> str:
        running[endpoint.name] += 1
        if endpoint.name == "e0":
            at_once.append((now(), running["e0"]))
        await asyncio.sleep(0.5)
        running[endpoint.name] -= 1
        if endpoint.name == "e0" and now() < 2.0:
            raise Unreachable("refused")
        return "done"

    async def main() -> None:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        await calls(bench, 3_000)

    run_virtual(main())
    back_at = next(at for at, count in at_once if at > 5.0 and count > 1)
    assert max(count for at, count in at_once if at < back_at + 2.9 and at > 5.0) <= 2
    assert max(count for at, count in at_once if at > back_at + 28.0) == 8


# ---- which endpoint


def test_a_second_try_goes_to_another_endpoint() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        if call.trace.tries == 1:
            raise TransientError("bad luck")
        return "done"

    async def main() -> list[tuple[str, str]]:
        bench = a_bench(answer, endpoints=FOUR[:2], retry=PATIENT)
        for i in range(4):
            await bench.call(str(i))
        return [(call, name) for _, call, name in bench.provider.started]

    tried = run_virtual(main())
    for i in range(4):
        assert len({name for call, name in tried if call == str(i)}) == 2


MODELS = (
    Endpoint("small", models=("mini",), limits=Limits(in_flight=2)),
    Endpoint("any", limits=Limits(in_flight=2)),
)


def test_a_call_goes_only_where_its_model_is_served() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        return await answers_after(1.0)

    async def main() -> Counter[str]:
        bench = a_bench(answer, endpoints=MODELS)
        await calls(bench, 10, model="large")
        return calls_by_endpoint(bench)

    assert run_virtual(main()) == {"any": 10}


def test_a_model_that_nobody_serves_is_refused_at_once_and_named() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        return "done"

    async def main() -> Outcome:
        return await a_bench(answer, endpoints=MODELS[:1]).call("a", model="large")

    failure = run_virtual(main()).failure
    assert failure is not None
    assert failure.code is ErrorCode.UNKNOWN_MODEL
    assert "'large', which no endpoint serves" in failure.message
    assert "mini" in failure.message


@pytest.mark.slow
def test_cancelling_at_any_moment_returns_every_permit_of_a_sick_pool() -> None:
    async def answer(call: Call, endpoint: Endpoint) -> str:
        await asyncio.sleep(0.3)
        if endpoint.name in ("e0", "e1"):
            raise Unreachable("refused")
        return "done"

    async def main(moment_s: float) -> tuple[int, int, bool]:
        bench = a_bench(answer, endpoints=FOUR, retry=PATIENT)
        tasks = [asyncio.create_task(bench.call(str(i))) for i in range(120)]
        await asyncio.sleep(moment_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate = bench.built.gate
        probing = any(site.breaker.probe_out for site in gate.sites)
        return gate.in_flight, gate.waiting, probing

    for tenth in range(80):
        assert run_virtual(main(tenth / 10 + 0.05)) == (0, 0, False)


async def a_page_from_e0(call: Call, endpoint: Endpoint) -> str:
    if endpoint.name == "e0":
        raise BadReply("a web page")
    return await answers_after(1.0)


def test_an_endpoint_that_answers_with_web_pages_is_cut_off_where_others_are_well() -> (
    None
):
    async def main() -> tuple[Bench, list[Outcome], str]:
        bench = a_bench(a_page_from_e0, endpoints=FOUR)
        outcomes = await calls(bench, 400)
        return bench, outcomes, states(bench)["e0"]

    bench, outcomes, state = run_virtual(main())
    assert all(outcome.ok for outcome in outcomes)
    assert state != "closed"
    # 5 in a row, what was in flight with them, and a few probes.
    assert calls_by_endpoint(bench)["e0"] <= 5 + 8 + 4


def test_alone_it_is_not_cut_off_and_each_call_fails_with_what_is_wrong() -> None:
    async def main() -> tuple[Bench, list[Outcome], str]:
        bench = a_bench(a_page_from_e0, endpoints=FOUR[:1])
        outcomes = await calls(bench, 40)
        return bench, outcomes, states(bench)["e0"]

    bench, outcomes, state = run_virtual(main())
    assert {o.failure.code for o in outcomes if o.failure} == {ErrorCode.BAD_REPLY}
    assert len(bench.provider.started) == 40
    assert state == "closed"
