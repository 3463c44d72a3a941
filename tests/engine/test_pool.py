"""Endpoints that come and go while calls are made."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.app import Terms
from headrace.engine.pool import check_pool
from headrace.errors import ConfigError
from headrace.model import Call, Endpoint, Limits, Outcome
from headrace.simulation.virtual import START_S, run_virtual

EIGHT = Limits(in_flight=8)
TWO = (Endpoint("a", limits=EIGHT), Endpoint("b", limits=EIGHT))


async def a_second(call: Call, endpoint: Endpoint) -> str:
    return await answers_after(1.0)


def many(bench: Bench, count: int, **fields: Any) -> list[asyncio.Task[Outcome]]:
    return [
        asyncio.create_task(bench.call(str(i), index=i, **fields)) for i in range(count)
    ]


def tries(bench: Bench, after_s: float = 0.0, until_s: float = 1e9) -> Counter[str]:
    return Counter(
        name
        for at, _, name in bench.provider.started
        if after_s <= at - START_S < until_s
    )


def states(bench: Bench) -> dict[str, str]:
    return {view.name: view.state for view in bench.built.pool.views()}


def test_one_endpoint_comes_and_another_goes_and_no_call_is_lost() -> None:
    async def main() -> tuple[list[Outcome], Bench]:
        bench = a_bench(a_second, endpoints=TWO)
        calls = many(bench, 400)
        await asyncio.sleep(2.5)
        bench.built.pool.add(Endpoint("c", limits=EIGHT))
        await asyncio.sleep(2.0)
        bench.built.pool.drain("a")
        return await asyncio.gather(*calls), bench

    outcomes, bench = run_virtual(main())
    assert all(outcome.ok for outcome in outcomes)
    assert len(bench.provider.started) == 400
    assert tries(bench, after_s=4.5)["a"] == 0
    assert tries(bench)["c"] > 50


def test_waiting_calls_take_the_slots_of_an_endpoint_that_comes() -> None:
    async def main() -> float:
        bench = a_bench(a_second, endpoints=TWO[:1])
        calls = many(bench, 9)
        await asyncio.sleep(0.5)
        bench.built.pool.add(TWO[1])
        await asyncio.gather(*calls)
        return asyncio.get_running_loop().time() - START_S

    assert run_virtual(main()) == pytest.approx(1.5)


def test_an_endpoint_that_comes_begins_with_few_calls() -> None:
    async def main() -> Counter[str]:
        bench = a_bench(a_second, endpoints=TWO[:1])
        calls = many(bench, 400)
        await asyncio.sleep(0.5)
        bench.built.pool.add(TWO[1])
        await asyncio.sleep(5.0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        return tries(bench)

    assert run_virtual(main())["b"] <= 10


def test_a_drained_endpoint_is_waited_for_until_its_last_call_has_ended() -> None:
    async def main() -> tuple[float, dict[str, str], dict[str, str]]:
        bench = a_bench(a_second, endpoints=TWO)
        calls = many(bench, 10)
        await asyncio.sleep(0.25)
        bench.built.pool.drain("a")
        before = states(bench)
        await bench.built.pool.wait_drained("a")
        at = asyncio.get_running_loop().time() - START_S
        await asyncio.gather(*calls)
        return at, before, states(bench)

    at, before, after = run_virtual(main())
    assert at == pytest.approx(1.0)
    assert before == {"b": "closed", "a": "draining"}
    assert after == {"b": "closed", "a": "drained"}


def test_an_endpoint_that_is_restored_takes_calls_again() -> None:
    async def main() -> Counter[str]:
        bench = a_bench(a_second, endpoints=TWO)
        bench.built.pool.drain("a")
        bench.built.pool.restore("a")
        assert states(bench) == {"a": "closed", "b": "closed"}
        await asyncio.gather(*many(bench, 100))
        return tries(bench)

    assert run_virtual(main())["a"] > 0


def test_a_removed_endpoint_is_forgotten_once_its_last_call_has_ended() -> None:
    async def main() -> tuple[dict[str, str], dict[str, str]]:
        bench = a_bench(a_second, endpoints=TWO)
        calls = many(bench, 4)
        await asyncio.sleep(0.25)
        bench.built.pool.remove("a")
        before = states(bench)
        await asyncio.gather(*calls)
        after = states(bench)
        bench.built.pool.add(Endpoint("a", limits=EIGHT))
        return before, after

    before, after = run_virtual(main())
    assert before["a"] == "draining"
    assert after == {"b": "closed"}


def test_a_new_weight_counts_from_the_next_call_on() -> None:
    async def main() -> Counter[str]:
        terms = Terms(strategy="weighted_round_robin")
        bench = a_bench(a_second, endpoints=TWO, terms=terms)
        bench.built.pool.reweigh("a", 3.0)
        for i in range(20):
            await bench.call(str(i))
        return tries(bench)

    assert run_virtual(main()) == {"a": 15, "b": 5}


def test_waiting_calls_of_a_model_that_nobody_serves_any_more_are_refused() -> None:
    one = Limits(in_flight=1)
    pool = (
        Endpoint("a", models=("mini",), limits=one),
        Endpoint("b", models=("maxi",), limits=one),
    )

    async def main() -> list[Outcome]:
        bench = a_bench(a_second, endpoints=pool)
        calls = many(bench, 3, model="mini")
        await asyncio.sleep(0.5)
        bench.built.pool.drain("a")
        outcomes = await asyncio.gather(*calls)
        assert (bench.built.gate.in_flight, bench.built.gate.waiting) == (0, 0)
        return outcomes

    outcomes = run_virtual(main())
    assert [outcome.ok for outcome in outcomes] == [True, False, False]
    assert outcomes[1].failure is not None
    assert "no endpoint serves" in outcomes[1].failure.message


def test_a_call_that_waits_for_the_rate_of_a_drained_endpoint_goes_elsewhere() -> None:
    slow = Limits(in_flight=8, calls_per_minute=6.0)

    async def main() -> tuple[float, Counter[str]]:
        pool = (Endpoint("a", limits=slow), Endpoint("b", limits=slow))
        bench = a_bench(a_second, endpoints=pool)
        calls = many(bench, 6)
        await asyncio.sleep(0.5)
        bench.built.pool.drain("a")
        bench.built.pool.add(Endpoint("c", limits=EIGHT))
        await asyncio.gather(*calls)
        return asyncio.get_running_loop().time() - START_S, tries(bench, 0.5)

    spent_s, found = run_virtual(main())
    assert found["a"] == 0
    assert spent_s < 12.0


# ---- what is refused


def refused(change: Any) -> str:
    async def main() -> str:
        with pytest.raises(ConfigError) as error:
            change(a_bench(a_second, endpoints=TWO).built.pool)
        return str(error.value)

    return run_virtual(main())


def test_the_last_endpoint_cannot_go() -> None:
    def change(pool: Any) -> None:
        pool.drain("a")
        pool.remove("b")

    assert "last that takes calls; add another one first" in refused(change)


def test_an_unknown_endpoint_is_named_beside_those_known() -> None:
    assert refused(lambda pool: pool.drain("z")) == (
        "endpoint: given 'z', allowed a, b"
    )


def test_a_weight_of_0_is_refused_and_draining_proposed() -> None:
    told = refused(lambda pool: pool.reweigh("a", 0.0))
    assert told == (
        "endpoint 'a': weight 0.0 is not above 0; to give it no calls, drain it"
    )


def test_a_name_that_is_in_the_pool_is_refused() -> None:
    assert "the name 'a' twice" in refused(lambda pool: pool.add(Endpoint("a")))


def test_waiting_for_the_end_of_an_endpoint_that_takes_calls_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="drain it first"):
            await a_bench(a_second, endpoints=TWO).built.pool.wait_drained("a")

    run_virtual(main())


def test_one_account_may_not_stand_twice_but_one_address_with_two_keys_may() -> None:
    url = "https://api.example"
    one, same = Endpoint("a", url, key_env="A"), Endpoint("b", url, key_env="A")
    with pytest.raises(ConfigError, match="limits would be counted twice"):
        check_pool((one, same))
    check_pool((one, Endpoint("b", url, key_env="B")))
