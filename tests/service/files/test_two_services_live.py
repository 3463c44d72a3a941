"""Two services on one PostgreSQL see the same files and batches."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator

import httpx2
import openai
import pytest
from openai import OpenAI

from batch_building import CHAT, a_line
from servers import PostgresServer, postgres_server
from shell_live import COMMAND, Serve, clean_environment

pytestmark = [
    pytest.mark.live,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(120),  # starts a database server and three services
]

Provide = Callable[..., contextlib.AbstractContextManager[str]]
COUNT = 500
MESSAGES = [{"role": "user", "content": "hi " * 400}]
INPUT = b"".join(
    a_line(f"r{n}", body={"model": "m", "messages": MESSAGES}) for n in range(COUNT)
)
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A database server with Headrace's tables."""
    with postgres_server() as server:
        migrate = [*COMMAND, "migrate", "--store", store_of(server)]
        subprocess.run(migrate, check=True, env=clean_environment())
        yield server


def store_of(server: PostgresServer) -> str:
    return f"{server.address}/postgres"


def client_of(url: str) -> OpenAI:
    return OpenAI(api_key="sk-client", base_url=f"{url}/v1", max_retries=0)


def test_what_one_takes_in_the_other_reads_and_runs(
    server: PostgresServer, serve: Serve, provide: Provide
) -> None:
    store = ("--store", store_of(server))
    with (
        provide() as url,
        serve("--base-url", url, *store) as one,
        serve("--base-url", url, *store) as two,
        client_of(one.url) as first,
        client_of(two.url) as second,
    ):
        file = first.files.create(file=("in.jsonl", INPUT), purpose="batch")
        assert second.files.content(file.id).content == INPUT
        batch = first.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h"
        )
        while (done := second.batches.retrieve(batch.id)).status != "completed":
            assert done.status in ("validating", "in_progress", "finalizing")
        assert done.request_counts.completed == COUNT
        outputs = [c.files.content(done.output_file_id).text for c in (first, second)]
        assert outputs[0] == outputs[1]
        rows = [json.loads(row) for row in outputs[0].splitlines()]
        assert sorted(row["custom_id"] for row in rows) == sorted(
            f"r{n}" for n in range(COUNT)
        )
        upload = first.uploads.create(
            bytes=6, filename="a.txt", mime_type="text/plain", purpose="user_data"
        )
        parts = [
            c.uploads.parts.create(upload.id, data=b"abc") for c in (first, second)
        ]
        whole = second.uploads.complete(upload.id, part_ids=[part.id for part in parts])
        assert first.files.content(whole.file.id).content == b"abcabc"
        assert second.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            first.files.content(file.id)


def test_a_database_lost_during_an_upload_is_told_and_leaves_no_file(
    server: PostgresServer, serve: Serve
) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nevals\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield b"x" * 3_000_000
        server.crash()
        yield b"x" * 3_000_000
        yield b"\r\n--x--\r\n"

    flags = ("--base-url", "http://127.0.0.1:9", "--store", store_of(server))
    with serve(*flags) as served:
        before = httpx2.get(f"{served.url}/v1/files").json()
        answer = httpx2.post(
            f"{served.url}/v1/files", content=cut_off(), headers=FORM, timeout=30
        )
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "store_error"
        server.start()
        assert httpx2.get(f"{served.url}/v1/files").json() == before
