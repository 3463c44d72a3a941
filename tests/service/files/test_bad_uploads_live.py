"""Uploads that are too long, or stand still, harm a real service in nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from killing import CHAT, input_of
from shell_live import Serve

pytestmark = [pytest.mark.live, pytest.mark.slow]

NOWHERE = ("--base-url", "http://127.0.0.1:9")
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"
MULTIPART = "multipart/form-data; boundary=b"
PIECE = bytes(2**20).replace(b"\0", b"x")
MEGABYTES = 60
"""More memory than before, at most; a twentieth of that was seen."""


def long_line() -> Iterator[bytes]:
    """Give an upload whose first line has 200 MB, and whose second one is right."""
    yield HEAD
    for _ in range(200):
        yield PIECE
    yield b"\n" + input_of(1) + TAIL


def ended(client: httpx2.Client, id: str) -> dict[str, Any]:
    pause = threading.Event()
    while True:
        batch: dict[str, Any] = client.get(f"/v1/batches/{id}").json()
        if batch["status"] in ("failed", "completed"):
            return batch
        pause.wait(0.05)


def test_a_line_of_200_mb_is_named_and_not_held_in_memory(serve: Serve) -> None:
    with (
        serve(*NOWHERE) as served,
        httpx2.Client(base_url=served.url, timeout=60) as client,
    ):
        process = psutil.Process(served.process.pid)
        before = process.memory_info().rss
        headers = {"content-type": MULTIPART}
        sent = client.post("/v1/files", content=long_line(), headers=headers).json()
        wanted = {
            "input_file_id": sent["id"],
            "endpoint": CHAT,
            "completion_window": "24h",
        }
        id = client.post("/v1/batches", json=wanted).json()["id"]
        batch = ended(client, id)
        more = process.memory_info().rss - before
    assert batch["status"] == "failed"
    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"]) == ("line_too_large", 1)
    assert "209,715,200 bytes" in error["message"]
    assert more < MEGABYTES * 2**20


def test_an_upload_that_stands_still_is_let_go_and_leaves_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    hasty = {"HEADRACE_SERVE_CLIENT_TIMEOUT": "0.3"}
    with serve(*NOWHERE, env=hasty) as served:
        parts = urlsplit(served.url)
        with socket.create_connection((parts.hostname, parts.port), 10) as client:
            client.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n"
                b"content-type: " + MULTIPART.encode() + b"\r\n\r\n" + HEAD + PIECE
            )
            answer = client.recv(4_096)
        listed = httpx2.get(f"{served.url}/v1/files").json()
    assert answer.startswith(b"HTTP/1.1 408")
    assert listed["data"] == []
    assert list((tmp_path / "headrace.db.files").iterdir()) == []
