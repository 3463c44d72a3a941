"""Files and batches with the official Python client, over real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from shell_live import Serve

pytestmark = [pytest.mark.live, pytest.mark.slow]

Provide = Callable[..., contextlib.AbstractContextManager[str]]


def lines(count: int, wrong: int = 0) -> bytes:
    """Return an input; the last `wrong` lines name a model that is not there."""
    rows = []
    for n in range(count):
        model = "m" if n < count - wrong else "none"
        body: Any = {"model": model, "messages": [{"role": "user", "content": str(n)}]}
        rows.append(
            {
                "custom_id": f"c{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
        )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def ended(client: OpenAI, id: str) -> Any:
    """Poll a batch to its end."""
    while True:
        batch = client.batches.retrieve(id)
        if batch.status in ("completed", "failed", "expired", "cancelled"):
            return batch


def test_a_batch_from_upload_to_results(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(300))
    with (
        provide("--latency", "constant:0.01") as url,
        serve("--base-url", url) as served,
        OpenAI(api_key="sk-client", base_url=f"{served.url}/v1") as client,
    ):
        with source.open("rb") as file:
            uploaded = client.files.create(file=file, purpose="batch")
        assert client.files.wait_for_processing(uploaded.id).status == "processed"
        batch = client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"team": "search"},
        )
        assert batch.status == "validating"
        done = ended(client, batch.id)
        assert done.status == "completed"
        assert done.request_counts.completed == 300
        assert done.error_file_id is None
        output = client.files.content(done.output_file_id).text.splitlines()
        answers = {row["custom_id"]: row for row in map(json.loads, output)}
        assert set(answers) == {f"c{n}" for n in range(300)}
        assert all(a["response"]["status_code"] == 200 for a in answers.values())
        assert [b.id for b in client.batches.list(limit=1)] == [batch.id]
        files = {f.id: f.purpose for f in client.files.list(limit=1)}
        assert files == {uploaded.id: "batch", done.output_file_id: "batch_output"}
        assert client.files.delete(uploaded.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(uploaded.id)
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)


def test_a_batch_of_a_file_that_came_in_parts(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    data = lines(300)
    source = tmp_path / "in.jsonl"
    source.write_bytes(data)
    with (
        provide() as url,
        serve("--base-url", url) as served,
        OpenAI(api_key="sk-client", base_url=f"{served.url}/v1") as client,
    ):
        upload = client.uploads.upload_file_chunked(
            file=source,
            mime_type="application/jsonl",
            purpose="batch",
            part_size=10_000,
            md5=hashlib.md5(data).hexdigest(),
        )
        assert (upload.status, upload.bytes) == ("completed", len(data))
        assert upload.file is not None
        assert client.files.content(upload.file.id).content == data
        batch = client.batches.create(
            input_file_id=upload.file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        assert ended(client, batch.id).request_counts.completed == 300
        begun = client.uploads.create(
            bytes=5, filename="a.txt", mime_type="text/plain", purpose="user_data"
        )
        client.uploads.parts.create(begun.id, data=b"12345")
        assert client.uploads.cancel(begun.id).status == "cancelled"
        with pytest.raises(openai.ConflictError):
            client.uploads.parts.create(begun.id, data=b"1")


def test_failed_lines_stand_in_the_error_file(serve: Serve, provide: Provide) -> None:
    with (
        provide("--error-rate", "1.0") as url,
        serve("--base-url", url, "--max-attempts", "1") as served,
        OpenAI(api_key="sk-client", base_url=f"{served.url}/v1") as client,
    ):
        uploaded = client.files.create(file=("in.jsonl", lines(5)), purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        done = ended(client, batch.id)
        assert (done.status, done.output_file_id) == ("completed", None)
        assert done.request_counts.failed == 5
        rows = client.files.content(done.error_file_id).text.splitlines()
        assert {json.loads(row)["response"]["status_code"] for row in rows} == {500}


def test_an_input_that_is_wrong_fails_with_its_lines(
    serve: Serve, provide: Provide
) -> None:
    with (
        provide() as url,
        serve("--base-url", url) as served,
        OpenAI(api_key="sk-client", base_url=f"{served.url}/v1") as client,
    ):
        data = lines(2) + b"no json\n" + lines(1)
        uploaded = client.files.create(file=("in.jsonl", data), purpose="batch")
        batch = client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        done = ended(client, batch.id)
        assert done.status == "failed"
        found = {(error.code, error.line) for error in done.errors.data}
        assert found == {("invalid_json_line", 3), ("duplicate_custom_id", 4)}
