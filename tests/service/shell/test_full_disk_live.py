"""A service whose disk is full says so, stays up, and goes on once there is room."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from killing import CHAT, input_of
from shell_live import Served, providing, serving

pytestmark = [pytest.mark.live, pytest.mark.slow]
LINES = 400


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may make a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return what takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def upload(client: httpx2.Client, content: bytes) -> httpx2.Response:
    return client.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)}
    )


def create(client: httpx2.Client) -> str:
    wanted = {
        "input_file_id": upload(client, input_of(LINES)).json()["id"],
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    id: str = client.post("/v1/batches", json=wanted).json()["id"]
    return id


def batch_of(client: httpx2.Client, id: str) -> dict[str, Any]:
    batch: dict[str, Any] = client.get(f"/v1/batches/{id}").json()
    return batch


def wait_told(served: Served, text: str) -> None:
    assert served.process.stderr is not None
    assert any(text in line for line in served.process.stderr)


def test_a_full_disk_stops_nothing_for_good(disk: Path, tmp_path: Path) -> None:
    pause = threading.Event()
    store = ("--store", str(disk / "headrace.db"))
    with (
        providing(tmp_path, "--latency", "constant:0.05") as url,
        serving(tmp_path, "--base-url", url, "--in-flight", "4", *store) as served,
        httpx2.Client(base_url=served.url, timeout=20) as client,
    ):
        id = create(client)
        while batch_of(client, id)["request_counts"]["completed"] == 0:
            pause.wait(0.05)
        filler = fill(disk)
        wait_told(served, "jobs wait until there is room")
        refused = upload(client, bytes(2_000_000))
        is_alive = client.get("/health/live").status_code == 200
        filler.unlink()
        while (batch := batch_of(client, id))["status"] == "in_progress":
            pause.wait(0.1)
        while batch["status"] == "finalizing":
            batch = batch_of(client, id)
        output = client.get(f"/v1/files/{batch['output_file_id']}/content").text
    assert is_alive
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "disk_full"
    assert refused.headers["x-should-retry"] == "false"
    assert batch["status"] == "completed"
    answered = [json.loads(line)["custom_id"] for line in output.splitlines()]
    assert len(answered) == len(set(answered)) == LINES
