"""A service killed while it takes something in keeps all of it, or nothing."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from killing import CHAT, Service, input_of
from shell_live import providing

pytestmark = [pytest.mark.live, pytest.mark.slow]
AGAIN = {"x-stainless-retry-count": "1"}
NOWHERE = "http://127.0.0.1:9"
JOBS = "/api/v1/jobs"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service before nobody, started."""
    made = Service(tmp_path, NOWHERE)
    made.start()
    made.wait_ready()
    yield made
    made.kill()


def again(service: Service) -> httpx2.Client:
    """Kill a service and start it anew; return a client of it."""
    service.kill()
    service.start()
    service.wait_ready()
    return httpx2.Client(base_url=service.url, timeout=20)


def until(is_so: Callable[[], object]) -> None:
    pause = threading.Event()
    while not is_so():
        pause.wait(0.01)


def half_sent(url: str, path: str, head: str, body: bytes) -> socket.socket:
    """Send the beginning of a request whose body goes on."""
    parts = urlsplit(url)
    peer = socket.create_connection((parts.hostname, parts.port), timeout=10)
    lines = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n{head}"
    peer.sendall(f"{lines}\r\n\r\n".encode())
    peer.sendall(b"%x\r\n%b\r\n" % (len(body), body))
    return peer


def input_file(client: httpx2.Client, lines: int) -> str:
    data = {"file": ("in.jsonl", input_of(lines))}
    sent = client.post("/v1/files", data={"purpose": "batch"}, files=data)
    id: str = sent.json()["id"]
    return id


def listed(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path).json()["data"]
    return found


def test_an_upload_that_a_kill_cut_off_is_gone(service: Service) -> None:
    form = "content-type: multipart/form-data; boundary=b"
    head = (
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )
    place = service.folder / "headrace.db.files"
    with half_sent(service.url, "/v1/files", form, head + b"x" * 3_000_000):
        until(lambda: [f for f in place.iterdir() if f.stat().st_size >= 2**20])
        with again(service) as client:
            assert listed(client, "/v1/files") == []
            assert list(place.iterdir()) == []


def test_a_job_that_a_kill_cut_off_is_gone_and_can_be_sent_again(
    service: Service,
) -> None:
    key = "content-type: application/jsonl\r\nidempotency-key: k"
    data = input_of(5_000)
    with half_sent(service.url, JOBS, key, data):
        until(lambda: service.items() >= 4_000)
        with again(service) as client:
            headers = {"content-type": "application/jsonl", "idempotency-key": "k"}
            made = client.post(JOBS, content=data, headers=headers)
            assert made.status_code == 200, made.text
            jobs = listed(client, JOBS)
            assert [job["id"] for job in jobs] == [made.json()["id"]]
            assert jobs[0]["counts"]["total"] == 5_000


def send_and_kill(service: Service, path: str, body: Any, after_s: float) -> None:
    """Kill the service soon after something is asked of it."""

    def ask() -> None:
        with suppress(httpx2.HTTPError):
            httpx2.post(service.url + path, json=body, timeout=20)

    asking = threading.Thread(target=ask)
    asking.start()
    threading.Event().wait(after_s)
    service.kill()
    asking.join()


def test_a_create_that_is_sent_again_after_a_kill_makes_one_batch(
    service: Service,
) -> None:
    chance = random.Random(1)
    with httpx2.Client(base_url=service.url, timeout=20) as client:
        wanted = {"input_file_id": input_file(client, 5), "endpoint": CHAT}
    for n in range(1, 5):
        body = {**wanted, "completion_window": f"{n}h"}
        send_and_kill(service, "/v1/batches", body, chance.uniform(0.0, 0.02))
        with again(service) as client:
            made = client.post("/v1/batches", json=body, headers=AGAIN)
            assert made.status_code == 200, made.text
            assert len(listed(client, "/v1/batches")) == n


def test_a_retry_that_is_sent_again_after_a_kill_makes_one_batch(
    tmp_path: Path,
) -> None:
    chance = random.Random(1)
    with providing(tmp_path, "--error", "400=1.0") as url:
        service = Service(tmp_path, url)
        service.start()
        service.wait_ready()
        with httpx2.Client(base_url=service.url, timeout=20) as client:
            wanted = {"input_file_id": input_file(client, 500), "endpoint": CHAT}
            body = {**wanted, "completion_window": "24h"}
            path = f"/v1/batches/{client.post('/v1/batches', json=body).json()['id']}"
            until(lambda: client.get(path).json()["status"] == "completed")
        try:
            for _ in range(3):
                after_s = chance.uniform(0.0, 0.03)
                send_and_kill(service, f"{path}/retry", None, after_s)
                with again(service) as client:
                    made = client.post(f"{path}/retry", headers=AGAIN).json()
                    assert made["retry_of"] == path.rpartition("/")[2]
                    batches = listed(client, "/v1/batches")
                    assert len(batches) == 2
                    inputs = {batch["input_file_id"] for batch in batches}
                    files = listed(client, "/v1/files?purpose=batch")
                    assert {file["id"] for file in files} == inputs
        finally:
            service.kill()
