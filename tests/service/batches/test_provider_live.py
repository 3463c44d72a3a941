"""The official client drives batches against a simulated provider."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from batch_building import CHAT, INPUT, a_line
from headrace.clock import SystemClock
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.openai.batchfiles import NewFile
from headrace.service.openai.filestore import FileStore
from headrace.simulation.scenario import Scenario
from headrace.simulation.server import serving
from service_building import opened

pytestmark = pytest.mark.live
Main = Callable[[openai.AsyncOpenAI, Service], Awaitable[Any]]


def input_of(count: int) -> bytes:
    """Return an input of chats."""
    messages = [{"role": "user", "content": "hi"}]
    rows = (
        a_line(f"r{n}", body={"model": "m", "messages": messages}) for n in range(count)
    )
    return b"".join(rows)


@asynccontextmanager
async def official(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    """Give the official client of a service."""
    transport = httpx2.ASGITransport(make_app(service))
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(
            base_url="http://127.0.0.1/v1", api_key="none", http_client=http
        ) as client,
    ):
        yield client


def played(scenario: Scenario, store: Path, data: bytes, main: Main) -> Any:
    """Run a test with a client of a service before a simulated provider."""

    async def run() -> Any:
        clock = SystemClock()
        async with (
            serving(scenario, clock) as there,
            opened(
                base_url=(there.base_url,), store=str(store), max_attempts=2
            ) as service,
            official(service) as client,
        ):
            await put(service, data)
            return await main(client, service)

    return asyncio.run(run())


async def put(service: Service, data: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    documents = service.home.store.documents()
    files = FileStore(documents, service.files, service.clock)
    await files.put(NewFile(INPUT, "", "in.jsonl", "batch"), chunks())


async def create(client: openai.AsyncOpenAI, window: str = "24h") -> Any:
    return await client.batches.create(
        input_file_id=INPUT,
        endpoint=CHAT,
        completion_window=window,  # type: ignore[arg-type]  any window is taken
        metadata={"team": "search"},
    )


async def ended(client: openai.AsyncOpenAI, id: str) -> Any:
    """Poll a batch until it has ended, as users do."""
    while True:
        batch = await client.batches.retrieve(id)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch
        await asyncio.sleep(0.02)


async def answered(client: openai.AsyncOpenAI, id: str, count: int) -> None:
    """Poll a batch until so many lines have their answer."""
    while True:
        batch = await client.batches.retrieve(id)
        if batch.request_counts is not None and batch.request_counts.completed >= count:
            return
        await asyncio.sleep(0.02)


async def lines(service: Service, id: str | None) -> list[Any]:
    if id is None:
        return []
    data = b"".join([piece async for piece in service.files.read(id)])
    return [json.loads(line) for line in data.splitlines()]


def test_a_batch_runs_to_its_end_before_a_faulty_provider(tmp_path: Path) -> None:
    async def main(client: openai.AsyncOpenAI, service: Service) -> None:
        made = await create(client)
        assert made.status == "validating"
        done = await ended(client, made.id)
        assert (done.status, done.metadata) == ("completed", {"team": "search"})
        good = await lines(service, done.output_file_id)
        bad = await lines(service, done.error_file_id)
        names = Counter(line["custom_id"] for line in good + bad)
        assert names == Counter(f"r{n}" for n in range(300))
        counts = done.request_counts
        assert (counts.total, counts.completed, counts.failed) == (
            300,
            len(good),
            len(bad),
        )
        assert bad
        assert {line["response"]["status_code"] for line in bad} == {400}
        assert all(line["response"]["body"]["error"]["message"] for line in bad)
        used = sum(line["response"]["body"]["usage"]["total_tokens"] for line in good)
        assert done.usage.total_tokens == used
        assert done.model == "m"

    scenario = Scenario(latency="constant:0.01", error_rates={400: 0.05})
    played(scenario, tmp_path / "h.db", input_of(300), main)


def test_a_batch_can_be_cancelled_and_its_failed_lines_retried(tmp_path: Path) -> None:
    async def main(client: openai.AsyncOpenAI, service: Service) -> None:
        made = await create(client)
        await answered(client, made.id, 5)
        assert (await client.batches.cancel(made.id)).status == "cancelling"
        done = await ended(client, made.id)
        assert done.status == "cancelled"
        left = await lines(service, done.error_file_id)
        assert {line["error"]["code"] for line in left} == {"batch_cancelled"}
        with pytest.raises(openai.ConflictError, match="status 'cancelled'"):
            await client.batches.cancel(made.id)
        again = await client.post(
            f"/batches/{made.id}/retry", cast_to=openai.types.Batch
        )
        names = [
            line["custom_id"] for line in await lines(service, again.input_file_id)
        ]
        assert sorted(names) == sorted(line["custom_id"] for line in left)
        await client.batches.cancel(again.id)
        await ended(client, again.id)
        assert [b.id async for b in client.batches.list(limit=1)] == [again.id, made.id]

    scenario = Scenario(latency="constant:0.05", cap=10)
    played(scenario, tmp_path / "h.db", input_of(400), main)


def test_calls_in_flight_when_the_window_ends_are_named_expired(tmp_path: Path) -> None:
    async def main(client: openai.AsyncOpenAI, service: Service) -> None:
        done = await ended(client, (await create(client, "2s")).id)
        assert (done.status, done.request_counts.failed) == ("expired", 0)
        good = await lines(service, done.output_file_id)
        bad = await lines(service, done.error_file_id)
        names = Counter(line["custom_id"] for line in good + bad)
        assert names == Counter(f"r{n}" for n in range(300))
        assert {line["error"]["code"] for line in bad} == {"batch_expired"}

    scenario = Scenario(latency="constant:0.7", cap=20)
    played(scenario, tmp_path / "h.db", input_of(300), main)
