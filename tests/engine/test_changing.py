"""Endpoints that change while calls are made, and reloads that are all or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.app import Terms
from headrace.cli.reloading import reload_pool
from headrace.errors import ConfigError
from headrace.model import Call, Endpoint, Limits
from headrace.simulation.virtual import START_S, run_virtual


async def a_second(call: Call, endpoint: Endpoint) -> str:
    return await answers_after(1.0)


def at(name: str, *, url: str = "", **fields: Any) -> Endpoint:
    limits = Limits(**{"in_flight": 4, **fields.pop("limits", {})})
    return Endpoint(name, url or f"http://{name}", limits=limits, **fields)


def a_pool(*endpoints: Endpoint) -> Bench:
    return a_bench(a_second, endpoints=endpoints or (at("a"), at("b")))


def started(bench: Bench, until_s: float) -> int:
    return sum(when - START_S < until_s for when, _, _ in bench.provider.started)


async def in_flight(bench: Bench, count: int) -> list[asyncio.Task[Any]]:
    calls = [asyncio.create_task(bench.call(str(i))) for i in range(count)]
    await asyncio.sleep(0.5)
    return calls


def test_a_higher_limit_lets_waiting_calls_go_at_once() -> None:
    async def main() -> tuple[tuple[str, ...], Bench]:
        bench = a_pool(at("a"))
        calls = await in_flight(bench, 8)
        changed = bench.built.pool.change(at("a", limits={"in_flight": 8}))
        await asyncio.gather(*calls)
        return changed, bench

    changed, bench = run_virtual(main())
    assert changed == ("limits",)
    assert started(bench, 0.6) == 8


def test_a_lower_limit_holds_from_the_next_start_on() -> None:
    async def main() -> Bench:
        bench = a_pool(at("a"))
        calls = await in_flight(bench, 8)
        bench.built.pool.change(at("a", limits={"in_flight": 1}))
        await asyncio.gather(*calls)
        return bench

    bench = run_virtual(main())
    assert [started(bench, t) for t in (0.9, 1.9, 2.9, 4.9)] == [4, 5, 6, 8]


def test_a_rate_that_moves_keeps_what_was_taken() -> None:
    def limited(calls: float) -> Endpoint:
        return at("a", limits={"in_flight": 99, "calls_per_minute": calls})

    async def main() -> Bench:
        bench = a_pool(limited(60.0))
        calls = await in_flight(bench, 200)
        await asyncio.sleep(29.5)
        bench.built.pool.change(limited(120.0))
        await asyncio.gather(*calls)
        return bench

    bench = run_virtual(main())
    times = [when for when, _, _ in bench.provider.started]
    assert len(times) == 200
    assert 25 <= started(bench, 30.0) <= 31
    assert max(sum(t <= u < t + 60.0 for u in times) for t in times) <= 120


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (at("a", url="http://elsewhere"), "base_url"),
        (at("a", key_env="OTHER"), "key_env"),
        (at("a", headers=(("x-team", "b"),)), "headers"),
        (at("a", limits={"in_flight": "auto"}), "in_flight"),
        (at("a", limits={"calls_per_minute": 60.0}), "calls_per_minute"),
    ],
)
def test_what_makes_it_another_one_is_refused_by_name(
    changed: Endpoint, named: str
) -> None:
    async def main() -> None:
        bench = a_pool()
        before = bench.built.pool.endpoints
        with pytest.raises(ConfigError, match=rf"'a'.* {named},.*drain it and add"):
            bench.built.pool.change(changed)
        assert bench.built.pool.endpoints == before

    run_virtual(main())


def test_a_reload_changes_adds_and_removes() -> None:
    async def main() -> tuple[list[str], list[str], tuple[Endpoint, ...]]:
        pool = a_pool().built.pool
        wanted = (at("a", weight=2.0, limits={"in_flight": 9}), at("c"))
        return reload_pool(pool, wanted), reload_pool(pool, wanted), pool.endpoints

    told, again, endpoints = run_virtual(main())
    assert told == [
        "a has other weight, limits",
        "c added",
        "b removed: its calls under way end there",
    ]
    assert again == []
    assert [e.name for e in endpoints] == ["a", "c"]


@pytest.mark.parametrize(
    "bad",
    [
        at("b", url="http://elsewhere"),
        at("c", url="http://a"),
        at("refused"),
        at("new"),
    ],
)
def test_a_reload_that_is_refused_changes_nothing(bad: Endpoint) -> None:
    def prepare(endpoint: Endpoint) -> Endpoint:
        if endpoint.name == "refused":
            raise ConfigError("endpoint refused: no key")
        return endpoint

    async def main() -> None:
        two, terms = (at("a"), at("b")), Terms(prepare=prepare)
        pool = a_bench(a_second, endpoints=two, terms=terms).built.pool
        before = pool.endpoints
        wanted = (at("new"), at("a", weight=3.0), bad)
        with pytest.raises(ConfigError):
            reload_pool(pool, wanted)
        assert pool.endpoints == before

    run_virtual(main())


def test_a_change_under_many_calls_loses_none() -> None:
    async def main() -> int:
        both = {"in_flight": 4, "calls_per_minute": 600.0, "tokens_per_minute": 6e5}
        bench = a_pool(at("a", limits=both), at("b"))
        calls = [
            asyncio.create_task(bench.call(str(i), tokens=100)) for i in range(300)
        ]
        for step in range(1, 20):
            await asyncio.sleep(1.0)
            limits = {
                **both,
                "in_flight": 1 + step % 5,
                "calls_per_minute": 60.0 * step,
            }
            bench.built.pool.change(at("a", limits=limits))
        outcomes = await asyncio.gather(*calls)
        site = bench.built.gate.sites[0]
        assert site.in_flight == 0
        return sum(outcome.ok for outcome in outcomes)

    assert run_virtual(main()) == 300


def test_an_endpoint_that_is_drained_may_change_too() -> None:
    async def main() -> Endpoint:
        pool = a_pool().built.pool
        pool.drain("a")
        pool.change(msgspec.structs.replace(at("a"), weight=2.0))
        pool.restore("a")
        return pool.endpoints[0]

    assert run_virtual(main()).weight == 2.0
