"""What is spent with a key is counted over restarts; its jobs wait for money."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.keys import Key, NewKey
from headrace.terms import KeyBudget, KeyLimits, Price
from service_building import client_of, opened
from upstreams import Asked, upstream

pytestmark = pytest.mark.live

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
REPLY = b'{"id":"c1","usage":{"prompt_tokens":6,"completion_tokens":4}}'
DOLLAR_A_TOKEN = Price(Decimal(10**6), Decimal(10**6))
"""So a call costs 10 dollars, and about 30 are set aside for it."""
JOBS = "/api/v1/jobs"


class Place(NamedTuple):
    """A service, who asks it, and the key."""

    service: Service
    client: httpx2.AsyncClient
    key: Key


@asynccontextmanager
async def placed(
    url: str, folder: Path, text: str = "", **wish: Any
) -> AsyncIterator[Place]:
    """Give a service on a store of its own, and a client with a key, perhaps a former one."""
    changes = {"store": str(folder / "h.db"), "price": (DOLLAR_A_TOKEN,)}
    async with opened(base_url=(url,), **changes) as service:
        if text:
            key = await service.keys.verify(text)
            assert key is not None
        else:
            text, key = await service.keys.make(NewKey("a", **wish))
        async with client_of(make_app(service)) as client:
            client.headers["authorization"] = f"Bearer {text}"
            yield Place(service, client, key)


async def answers(request: Asked) -> None:
    await request.reply(REPLY)


def run(
    main: Callable[[str], Awaitable[Any]],
    answer: Callable[[Asked], Awaitable[None]] = answers,
) -> Any:
    async def running() -> Any:
        async with upstream(answer) as there:
            return await main(there.url)

    return asyncio.run(running())


def usd(amount: int) -> KeyBudget:
    return KeyBudget(Decimal(amount))


async def chat(place: Place) -> httpx2.Response:
    return await place.client.post("/v1/chat/completions", json=BODY)


def items(count: int) -> list[dict[str, Any]]:
    item = {"url": "/v1/chat/completions", "body": BODY}
    return [{**item, "custom_id": f"c{n}"} for n in range(count)]


async def until(place: Place, id: str, state: str) -> Any:
    """Wait until a job is in a state; return it."""
    while True:
        job = (await place.client.get(f"{JOBS}/{id}")).json()
        if job["state"] == state:
            return job
        await asyncio.sleep(0.05)


def test_a_key_whose_budget_is_spent_is_told_as_openai_does_also_after_a_restart(
    tmp_path: Path,
) -> None:
    async def main(url: str) -> None:
        async with placed(url, tmp_path, budget=usd(100)) as place:
            answers = [await chat(place) for _ in range(12)]
            text = place.client.headers["authorization"].removeprefix("Bearer ")
            fed = [answer.status_code for answer in answers].count(200)
            assert 8 <= fed <= 9
        async with placed(url, tmp_path, text) as place:
            refused = await chat(place)
            assert refused.status_code == 429
            error = refused.json()["error"]
            assert (error["code"], error["type"]) == ("insufficient_quota",) * 2
            assert f"{10 * fed}.00 of 100.00 USD spent" in error["message"]
            assert refused.headers["x-should-retry"] == "false"
            more = await place.client.post(JOBS, json=items(1))
            assert (more.status_code, more.json()["error"]["code"]) == (
                429,
                "insufficient_quota",
            )
            use = await place.service.keybook.use(place.key.id)
            assert use.nano == 10 * fed * 10**9

    run(main)


def test_a_job_waits_for_the_money_of_its_key_and_goes_on_by_itself(
    tmp_path: Path,
) -> None:
    async def main(url: str) -> None:
        async with placed(url, tmp_path, budget=usd(100)) as place:
            made = await place.client.post(JOBS, json=items(20))
            id = made.json()["id"]
            assert made.json()["metadata"] == {"key": place.key.id}
            paused = await until(place, id, "paused")
            why = (await place.client.get(f"{JOBS}/{id}/why")).json()
            assert why["pause_reason"].startswith(f"budget of key {place.key.id}: ")
            assert why["key"]["budget"]["usd"] == 100.0
            assert (why["key"]["in_flight"], why["key"]["waiting"]) == (0, 0)
            assert paused["counts"]["failed"] == 0
            text = place.client.headers["authorization"].removeprefix("Bearer ")
        async with placed(url, tmp_path, text) as place:
            await place.service.keys.change(place.key.id, {"budget_usd": Decimal(500)})
            ended = await until(place, id, "completed")
            assert ended["counts"]["succeeded"] == 20
            while await place.service.keybook.waiting():  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.1)

    run(main)


def test_a_streamed_answer_is_paid_for_by_what_it_says_of_its_tokens(
    tmp_path: Path,
) -> None:
    async def streams(request: Asked) -> None:
        await request.stream(b"data: {}\n\n", b"data: %b\n\n" % REPLY)
        await request.end()

    async def main(url: str) -> int:
        async with placed(url, tmp_path, budget=usd(100)) as place:
            asked = {**BODY, "stream": True}
            answer = await place.client.post("/v1/chat/completions", json=asked)
            assert answer.status_code == 200
        async with opened(base_url=(url,), store=str(tmp_path / "h.db")) as service:
            return (await service.keybook.use(place.key.id)).nano

    assert run(main, streams) == 10 * 10**9


def test_the_items_of_a_batch_run_within_the_limits_of_its_key(tmp_path: Path) -> None:
    now = peak = 0

    async def slow(request: Asked) -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.02)
        now -= 1
        await request.reply(REPLY)

    async def main(url: str) -> None:
        limits = KeyLimits(in_flight=2)
        async with placed(url, tmp_path, limits=limits) as place:
            lines = b"".join(
                json.dumps({"method": "POST", **item}).encode() + b"\n"
                for item in items(30)
            )
            sent = {"file": ("in.jsonl", lines), "purpose": (None, "batch")}
            file = await place.client.post("/v1/files", files=sent)
            body = {
                "input_file_id": file.json()["id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "1h",
            }
            batch = (await place.client.post("/v1/batches", json=body)).json()
            while batch["status"] != "completed":
                await asyncio.sleep(0.05)
                path = f"/v1/batches/{batch['id']}"
                batch = (await place.client.get(path)).json()
            assert batch["request_counts"]["completed"] == 30

    run(main, slow)
    assert peak == 2


def test_a_call_without_a_known_price_is_not_made_with_a_budget(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with opened(base_url=(url,)) as service:
            text, _ = await service.keys.make(NewKey("a", budget=usd(1)))
            async with client_of(make_app(service)) as client:
                client.headers["authorization"] = f"Bearer {text}"
                refused = await client.post("/v1/chat/completions", json=BODY)
                assert refused.status_code == 429
                assert "no price is known" in refused.json()["error"]["message"]

    run(main)
