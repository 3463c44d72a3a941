"""Batches of a service whose upstream is away, or refuses its key."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from killing import CHAT, input_of
from servers import free_port
from shell_live import Serve, providing

pytestmark = [pytest.mark.live, pytest.mark.slow]
LINES = 20


def create(url: str) -> str:
    """Upload an input, make a batch of it, and return its id."""
    with httpx2.Client(base_url=url, timeout=20) as client:
        data = {"file": ("in.jsonl", input_of(LINES))}
        sent = client.post("/v1/files", data={"purpose": "batch"}, files=data)
        wanted = {
            "input_file_id": sent.json()["id"],
            "endpoint": CHAT,
            "completion_window": "24h",
        }
        id: str = client.post("/v1/batches", json=wanted).json()["id"]
        return id


def until(url: str, id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll a batch until something is so of it."""
    pause = threading.Event()
    while True:
        batch: dict[str, Any] = httpx2.get(f"{url}/v1/batches/{id}").json()
        if is_so(batch):
            return batch
        pause.wait(0.05)


def has_ended(batch: dict[str, Any]) -> bool:
    return batch["status"] == "completed"


def test_a_batch_goes_on_by_itself_when_its_upstream_comes(
    serve: Serve, tmp_path: Path
) -> None:
    port = str(free_port())
    with serve("--base-url", f"http://127.0.0.1:{port}") as served:
        id = create(served.url)
        until(served.url, id, lambda batch: batch["status"] == "in_progress")
        threading.Event().wait(1.5)
        with providing(tmp_path, "--port", port):
            done = until(served.url, id, has_ended)
    assert done["request_counts"]["completed"] == LINES


def test_a_refused_key_is_told_and_another_one_taken_on_sighup(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "right-key")
    key = tmp_path / "key"
    key.write_text("wrong-key")
    env = {"HEADRACE_SERVE_API_KEY_FILE": str(key)}
    with (
        providing(tmp_path, "--require-key", "UPSTREAM_KEY") as url,
        serve("--base-url", url, env=env) as served,
    ):
        id = create(served.url)
        paused = until(served.url, id, lambda batch: bool(batch["pause_reason"]))
        key.write_text("right-key")
        served.process.send_signal(signal.SIGHUP)
        done = until(served.url, id, has_ended)
    assert paused["status"] == "in_progress"
    assert paused["pause_reason"].startswith("upstream: no endpoint answered for 10 s")
    assert "wrong-key" not in paused["pause_reason"]
    assert (done["pause_reason"], done["request_counts"]["failed"]) == (None, 0)
