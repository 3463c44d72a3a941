from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.clock import SystemClock
from headrace.service.keywatch import Visit
from headrace.service.principal import LOCAL, Principal
from headrace.service.stream.course import ALIVE, Asked, Told
from headrace.service.stream.hub import DELIVERIES_PER_S, ENDS_PER_S, SLICE, Pace
from headrace.service.stream.listener import MAX_ENDS, MAX_WAITING, Listener, TooSlow
from headrace.service.stream.views import View
from headrace.simulation.virtual import run_virtual
from stream_building import Steps, body, course_of_all, heard, listening


def view(id: str, version: int = 1, *, has_ended: bool = False) -> View:
    return View("job", id, version, b"{}", has_ended, "", id)


def taken(listener: Listener) -> list[str]:
    async def main() -> list[str]:
        views = await listener.take(1.0)
        return [v.event_id for v in views or ()]

    return asyncio.run(main())


def test_of_one_job_only_the_newest_view_waits() -> None:
    listener = Listener()
    for version in range(5):
        listener.offer(view("a", version))
    assert taken(listener) == ["a:4"]
    assert listener.coalesced == 4


def test_what_waits_for_a_client_is_bounded() -> None:
    listener = Listener()
    for number in range(MAX_WAITING + 7):
        listener.offer(view(f"j{number}"))
    assert len(taken(listener)) == MAX_WAITING
    assert listener.dropped == 7


def test_ends_are_never_dropped() -> None:
    listener = Listener()
    listener.offer(view("end", 3, has_ended=True))
    for number in range(3 * MAX_WAITING):
        listener.offer(view(f"j{number}"))
    assert "end:3" in taken(listener)


def test_an_end_goes_before_what_a_retry_began() -> None:
    listener = Listener()
    listener.offer(view("a", 3, has_ended=True))
    listener.offer(view("a", 4))
    assert taken(listener) == ["a:3", "a:4"]


def test_a_client_for_which_too_many_ends_wait_must_come_again() -> None:
    listener = Listener()
    for number in range(MAX_ENDS + 1):
        listener.offer(view(f"j{number}", has_ended=True))
    with pytest.raises(TooSlow):
        taken(listener)


def test_what_waits_is_told_before_the_end_of_the_stream() -> None:
    async def main() -> list[Any]:
        listener = Listener()
        listener.offer(view("a", 3, has_ended=True))
        listener.end()
        return [await listener.take(1.0), await listener.take(1.0)]

    first, second = asyncio.run(main())
    assert [v.event_id for v in first] == ["a:3"]
    assert second is None


@pytest.mark.slow
def test_a_client_hears_a_snapshot_then_changes_then_the_end() -> None:
    async def main() -> list[Told]:
        steps = Steps(at=50)
        async with listening(steps) as (home, hub):
            job = await home.submit(range(100), "steps")
            told = []
            async for event in heard(home, hub, job.job.number):
                told.append(event)
                if body(event)["counts"]["succeeded"] >= 50:
                    steps.go.set()
            return told

    told = asyncio.run(main())
    assert told[0].kind == "snapshot"
    assert {event.kind for event in told[1:]} == {"job"}
    assert body(told[-1])["state"] == "completed"
    versions = [body(event)["version"] for event in told]
    assert versions == sorted(set(versions))
    assert told[-1].id == f"{body(told[-1])['id']}:{versions[-1]}"


@pytest.mark.slow
def test_with_items_each_is_told_once_over_a_reconnection() -> None:
    async def main() -> list[Told]:
        steps = Steps(at=50)
        told: list[Told] = []
        async with listening(steps) as (home, hub):
            job = await home.submit(range(100), "steps")
            first = heard(home, hub, job.job.number, Asked("", items=True))
            async for event in first:
                told.append(event)
                if len(told) == 20:
                    await first.aclose()
                    break
            steps.go.set()
            again = Asked(told[-1].id, items=True)
            told += [event async for event in heard(home, hub, job.job.number, again)]
        return told

    told = asyncio.run(main())
    items = [int(body(event)["index"]) for event in told if event.kind == "item"]
    assert sorted(items) == list(range(100))
    assert body(told[-1])["counts"]["succeeded"] == 100


@pytest.mark.slow
def test_what_another_process_does_is_heard(tmp_path: Path) -> None:
    async def main() -> str:
        steps = Steps(at=0)
        where = tmp_path / "h.db"
        async with listening(steps, where) as (home, hub), headrace.open(where) as far:
            job = await home.submit(range(3), "steps")
            async for event in heard(home, hub, job.job.number):
                status: str = body(event)["state"]
                if event.kind == "snapshot":
                    await far.store.pause(job.job.number, "operator")
                elif status == "paused":
                    return status
        return ""

    assert asyncio.run(main()) == "paused"


@pytest.mark.slow
def test_a_tenant_hears_of_its_own_jobs_only() -> None:
    async def main() -> list[str]:
        steps = Steps()
        async with listening(steps) as (home, hub):
            await home.submit(range(2), "steps", tenant="b")
            mine = Principal("a", frozenset({"read"}))
            course = course_of_all(hub, home.store, mine, Visit())
            snapshot = await anext(course)
            assert body(snapshot)["data"] == []
            other = await home.submit(range(2), "steps", tenant="b")
            job = await home.submit(range(2), "steps", tenant="a")
            await other.wait()
            heard_of = []
            async for told in course:
                if told is not ALIVE:
                    heard_of.append(body(told)["id"])
                    if body(told)["state"] == "completed":
                        break
            assert set(heard_of) == {job.id}
            await course.aclose()
            return heard_of

    assert asyncio.run(main())


@pytest.mark.slow
def test_a_service_that_stops_lets_its_listeners_go() -> None:
    async def main() -> int:
        steps = Steps(at=0)
        async with listening(steps) as (home, hub):
            await home.submit(range(2), "steps")
            course = course_of_all(hub, home.store, LOCAL, Visit())
            await anext(course)
            await home.drain(0.01)
            async for _ in course:
                pass
            steps.go.set()
            return hub.listeners

    assert asyncio.run(main()) == 0


def test_who_hears_nothing_in_time_is_told_so_and_hears_what_comes_next() -> None:
    async def main() -> tuple[Any, Any, float]:
        loop = asyncio.get_running_loop()
        listener, began_at = Listener(), loop.time()
        nothing = await listener.take(15.0)
        waited_s = loop.time() - began_at
        loop.call_later(3.0, listener.offer, view("a", 2))
        return nothing, await listener.take(15.0), waited_s

    nothing, news, waited_s = run_virtual(main())
    assert nothing == []
    assert [v.event_id for v in news] == ["a:2"]
    assert waited_s == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("has_ended", "per_s"), [(False, DELIVERIES_PER_S), (True, ENDS_PER_S)]
)
def test_many_views_are_spread_over_time_and_ends_come_soon(
    has_ended: bool, per_s: float
) -> None:
    async def main() -> tuple[float, int]:
        loop, pace, turns = asyncio.get_running_loop(), Pace(SystemClock()), 0
        began_at, told = loop.time(), view("a", has_ended=has_ended)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        other = asyncio.create_task(others())
        for _ in range(1_000):
            await pace.told(told)
        other.cancel()
        return loop.time() - began_at, turns

    took_s, turns = run_virtual(main())
    assert took_s == pytest.approx(1_000 / per_s)
    assert turns >= 1_000 / SLICE
