"""The official Python client, both of its forms, over everything, with a key."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

pytestmark = [pytest.mark.live, pytest.mark.slow]

MESSAGES: Any = [{"role": "user", "content": "Name a river."}]
ENDS = ("completed", "failed", "expired", "cancelled")
CHAT: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


def lines(bodies: Iterable[dict[str, Any]]) -> bytes:
    rows = (
        {"custom_id": f"r{n}", "method": "POST", "url": CHAT["endpoint"], "body": body}
        for n, body in enumerate(bodies)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def good(count: int) -> bytes:
    return lines([{"model": "m", "messages": MESSAGES}] * count)


@pytest.fixture
def client(place: Any) -> Any:
    with OpenAI(base_url=f"{place.served.url}/v1", api_key=place.key) as client:
        yield client


def made(client: OpenAI, text: bytes, **more: Any) -> Any:
    file = client.files.create(file=("in.jsonl", text), purpose="batch")
    return client.batches.create(input_file_id=file.id, **CHAT, **more)


def until(client: OpenAI, id: str, holds: Callable[[Any], bool]) -> Any:
    while not holds(batch := client.batches.retrieve(id)):
        pass
    return batch


def ended(client: OpenAI, id: str) -> Any:
    return until(client, id, lambda batch: batch.status in ENDS)


def rows(client: OpenAI, file_id: str) -> list[Any]:
    return [json.loads(row) for row in client.files.content(file_id).iter_lines()]


def test_a_batch_has_its_answers_and_its_errors(client: OpenAI) -> None:
    bad = {"model": "m", "messages": "no list"}
    text = lines([{"model": "m", "messages": MESSAGES}] * 30 + [bad])
    file = client.files.create(file=io.BytesIO(text), purpose="batch")
    assert client.files.wait_for_processing(file.id).status == "processed"
    assert client.files.content(file.id).read() == text
    batch = client.batches.create(
        input_file_id=file.id, **CHAT, metadata={"team": "search"}
    )
    assert batch.status == "validating"
    done = ended(client, batch.id)
    assert (done.status, done.metadata) == ("completed", {"team": "search"})
    counts = done.request_counts.to_dict()
    assert counts == {"total": 31, "completed": 30, "failed": 1}
    answered = rows(client, done.output_file_id)
    assert {row["custom_id"] for row in answered} == {f"r{n}" for n in range(30)}
    assert all(row["response"]["body"]["choices"] for row in answered)
    (failed,) = rows(client, done.error_file_id)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("r30", 400)
    assert done.usage.output_tokens > 0


def test_a_batch_that_is_cancelled_keeps_what_was_answered(client: OpenAI) -> None:
    batch = made(client, good(4_000))
    until(client, batch.id, lambda batch: batch.request_counts.completed > 0)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    done = ended(client, batch.id)
    assert done.status == "cancelled"
    answered = rows(client, done.output_file_id)
    rest = rows(client, done.error_file_id)
    assert len(answered) == done.request_counts.completed
    assert {row["error"]["code"] for row in rest} == {"batch_cancelled"}
    ids = [row["custom_id"] for row in answered + rest]
    assert sorted(ids) == sorted(f"r{n}" for n in range(4_000))
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_pages_hold_each_batch_and_each_file_once(client: OpenAI) -> None:
    batches = [made(client, good(1)) for _ in range(5)]
    listed = [batch.id for batch in client.batches.list(limit=2)]
    assert len(set(listed)) == len(listed)
    assert listed[:5] == [batch.id for batch in reversed(batches)]
    files = client.files.list(limit=2, purpose="batch", order="asc")
    found = [file.id for file in files]
    assert len(set(found)) == len(found)
    assert found[-5:] == [batch.input_file_id for batch in batches]


def test_calls_are_answered_at_once(client: OpenAI) -> None:
    chat = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8)
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 8
    with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        pieces = [event for event in stream if event.type == "content.delta"]
        whole = stream.get_final_completion().choices[0].message.content
    assert len(pieces) > 2
    assert "".join(piece.delta for piece in pieces) == whole
    vectors = client.embeddings.create(model="m", input=["a", "b"])
    assert [each.index for each in vectors.data] == [0, 1]
    assert len(vectors.data[0].embedding) > 1
    assert client.responses.create(model="m", input="a").output_text
    assert [model.id for model in client.models.list()] == ["m"]


def test_who_has_no_key_of_the_service_is_refused(place: Any) -> None:
    with (
        OpenAI(base_url=f"{place.served.url}/v1", api_key="nobody") as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.files.list()
    assert refused.value.code == "invalid_api_key"


def test_the_async_client_does_many_things_at_the_same_time(place: Any) -> None:
    async def one_batch(client: AsyncOpenAI) -> list[str]:
        file = await client.files.create(file=("in.jsonl", good(20)), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, **CHAT)
        while batch.status not in ENDS:
            batch = await client.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        content = await client.files.content(batch.output_file_id)
        return [json.loads(row)["custom_id"] for row in content.text.splitlines()]

    async def one_stream(client: AsyncOpenAI) -> int:
        stream = await client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, max_tokens=8
        )
        return len([chunk async for chunk in stream if chunk.choices])

    async def main() -> None:
        async with AsyncOpenAI(
            base_url=f"{place.served.url}/v1", api_key=place.key
        ) as client:
            async with asyncio.TaskGroup() as group:
                batches = [group.create_task(one_batch(client)) for _ in range(4)]
                streams = [group.create_task(one_stream(client)) for _ in range(20)]
            listed = [batch.id async for batch in client.batches.list(limit=3)]
            vectors = await client.embeddings.create(model="m", input="a")
        for task in batches:
            assert sorted(task.result()) == sorted(f"r{n}" for n in range(20))
        assert min(task.result() for task in streams) > 2
        assert len(set(listed)) == len(listed) >= 4
        assert len(vectors.data) == 1

    asyncio.run(main())
