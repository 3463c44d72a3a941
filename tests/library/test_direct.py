"""Direct calls: through the gate of a served route, past the store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import headrace
from headrace import (
    ConfigError,
    Endpoint,
    FunctionRoute,
    Headrace,
    HttpRoute,
    ItemState,
    Limits,
    Outcome,
    PermanentError,
    Retry,
)
from headrace.errors import ErrorCode

MEMORY = ":memory:"


async def _double(item: int) -> int:
    return 2 * item


def _run(main: Any) -> Any:
    return asyncio.run(main)


def _opened(function: Any = _double, **more: Any) -> Headrace:
    return headrace.open(MEMORY, [FunctionRoute("r", function, **more)])


def test_a_direct_call_gives_its_outcome_and_leaves_nothing_in_the_store() -> None:
    async def main() -> tuple[Outcome, int]:
        async with _opened() as home:
            return await home.call(21, "r"), len(await home.store.jobs())

    outcome, jobs = _run(main())
    assert (outcome.state, outcome.value) == (ItemState.SUCCEEDED, 42)
    assert jobs == 0


def test_an_upstream_that_refuses_is_an_outcome_at_once() -> None:
    route = HttpRoute(
        "chat",
        (Endpoint("e", "http://127.0.0.1:1"),),
        retry=Retry(max_attempts=1),
    )

    async def main() -> Outcome:
        async with headrace.open(MEMORY, [route]) as home:
            item = {"url": "/v1/chat/completions", "body": {"model": "m"}}
            return await home.call(item, "chat")

    outcome = _run(main())
    assert outcome.failure is not None
    assert outcome.failure.code is ErrorCode.CONNECT_FAILED


def test_a_call_that_fails_is_an_outcome_with_its_error() -> None:
    async def fails(_item: int) -> None:
        raise PermanentError("no such thing")

    async def main() -> Outcome:
        async with _opened(fails) as home:
            return await home.call(1, "r")

    outcome = _run(main())
    assert outcome.state is ItemState.FAILED
    assert outcome.failure is not None
    assert "no such thing" in outcome.failure.message


def test_at_its_deadline_a_direct_call_expires() -> None:
    async def hang(_item: int) -> None:
        await asyncio.Event().wait()

    async def main() -> tuple[Outcome, int]:
        async with _opened(hang) as home:
            outcome = await home.call(1, "r", deadline_s=0.05)
            return outcome, home._served["r"].gate.in_flight

    outcome, in_flight = _run(main())
    assert outcome.state is ItemState.EXPIRED
    assert in_flight == 0


def test_a_direct_call_overtakes_the_items_of_a_job() -> None:
    order: list[int] = []
    started = asyncio.Event()

    async def note(item: int) -> None:
        order.append(item)
        started.set()
        await asyncio.sleep(0.01)

    async def main() -> None:
        async with _opened(note, limits=Limits(in_flight=1)) as home:
            job = await home.submit(range(20), "r")
            await started.wait()
            await home.call(99, "r", priority="urgent")
            await job.wait()

    _run(main())
    assert order.index(99) < 4
    assert len(order) == 21


def test_a_cancelled_caller_cancels_its_call() -> None:
    started = asyncio.Event()

    async def hang(_item: int) -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> int:
        async with _opened(hang) as home:
            task = asyncio.create_task(home.call(1, "r", deadline_s=60))
            await started.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            return home._served["r"].gate.in_flight

    assert _run(main()) == 0


@pytest.mark.parametrize(
    ("payload", "route", "options", "error"),
    [
        (1, "other", {}, ConfigError),
        (1, "r", {"priority": "now"}, ValueError),
        (1, "r", {"deadline_s": 0}, ValueError),
        (object(), "r", {}, TypeError),
    ],
)
def test_a_wrong_argument_is_refused(
    payload: object, route: str, options: dict[str, Any], error: type[Exception]
) -> None:
    async def main() -> None:
        async with _opened() as home:
            await home.call(payload, route, **options)

    with pytest.raises(error):
        _run(main())


def test_a_payload_that_is_no_request_is_refused() -> None:
    route = HttpRoute("chat", (Endpoint("e", "http://127.0.0.1:1"),))

    async def main() -> None:
        async with headrace.open(MEMORY, [route]) as home:
            await home.call({"url": "http://elsewhere/", "body": {}}, "chat")

    with pytest.raises(ValueError, match="url"):
        _run(main())
