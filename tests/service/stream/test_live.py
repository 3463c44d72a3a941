"""Real clients of a real service, cut off in the middle and coming again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

import headrace
from shell_live import COMMAND, Serve, clean_environment
from stream_clients import curl, status

pytestmark = pytest.mark.live

ITEMS = 40
Provide = Callable[..., contextlib.AbstractContextManager[str]]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def submitted(folder: Path) -> str:
    """Submit a job from this process; the service does it."""

    async def main() -> str:
        async with headrace.open(folder / "headrace.db") as home:
            payloads = [{"url": "/v1/chat/completions", "body": CHAT}] * ITEMS
            return (await home.submit(payloads, "openai")).id

    return asyncio.run(main())


@contextlib.contextmanager
def at_work(serve: Serve, provide: Provide, folder: Path) -> Iterator[tuple[str, str]]:
    """Give the address of a service that needs a while for a job, and the job's id."""
    with (
        provide("--latency", "constant:0.1") as url,
        serve("--base-url", url, "--in-flight", "2") as served,
    ):
        yield served.url, submitted(folder)


def test_curl_is_cut_off_comes_again_and_ends_with_all(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    with at_work(serve, provide, tmp_path) as (url, job):
        path = f"/api/v1/jobs/{job}/events"
        with curl(url, path) as stream:
            first = next(stream)
            assert "data" in first, first
            seen = [next(stream) for _ in range(3)][-1]
        assert (first["http"], first["event"]) == ("200", "snapshot")
        assert seen["id"].startswith(f"{job}:")
        with curl(url, path, seen["id"]) as stream:
            rest = list(stream)
    assert rest[0]["event"] == "snapshot"
    ended = [event for event in rest if "data" in event][-1]
    assert status(ended) == "completed"
    assert json.loads(ended["data"])["counts"]["succeeded"] == ITEMS


def test_who_has_seen_the_end_need_not_come_again(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    with at_work(serve, provide, tmp_path) as (url, job):
        path = f"/api/v1/jobs/{job}/events"
        with curl(url, path) as stream:
            last = [event for event in stream if "data" in event][-1]
        assert (
            httpx2.get(url + path, headers={"last-event-id": last["id"]}).status_code
            == 204
        )


def socket_at(url: str, path: str) -> ClientConnection:
    return connect(url.replace("http", "ws", 1) + path, close_timeout=2)


def all_of(link: ClientConnection) -> tuple[list[Any], int, str]:
    """Return what is told until the service closes, and how it closes."""
    told = []
    try:
        while True:
            told.append(json.loads(link.recv(10)))
    except ConnectionClosed as error:
        last = error.rcvd or Close(1006, "")
        return told, last.code, last.reason


def test_a_websocket_is_cut_off_comes_again_and_ends_with_all(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    with at_work(serve, provide, tmp_path) as (url, job):
        path = f"/api/v1/jobs/{job}/events?items=true"
        items: list[int] = []
        with socket_at(url, path) as link:
            told = json.loads(link.recv(10))
            assert told["type"] == "snapshot"
            while len(items) < 10:
                told = json.loads(link.recv(10))
                if told["type"] == "item":
                    items.append(told["data"]["index"])
        with socket_at(url, f"{path}&last_event_id={told['id']}") as link:
            rest, code, reason = all_of(link)
    items += [each["data"]["index"] for each in rest if each["type"] == "item"]
    assert sorted(items) == list(range(ITEMS))
    assert rest[-1]["data"]["counts"]["succeeded"] == ITEMS
    assert (code, reason) == (1000, "ended")


def test_a_websocket_answers_pings(
    serve: Serve, provide: Provide, tmp_path: Path
) -> None:
    with (
        serve("--base-url", "http://127.0.0.1:9") as served,
        socket_at(served.url, "/api/v1/events") as link,
    ):
        assert json.loads(link.recv(5))["data"] == {"object": "list", "data": []}
        link.send('{"type":"ping"}')
        assert json.loads(link.recv(5)) == {"type": "pong"}
        assert link.ping().wait(5)


def test_a_websocket_of_an_unknown_job_is_closed_with_the_reason(serve: Serve) -> None:
    with (
        serve("--base-url", "http://127.0.0.1:9") as served,
        socket_at(served.url, "/api/v1/jobs/nowhere/events") as link,
    ):
        told, code, reason = all_of(link)
    assert (told, code) == ([], 4404)
    assert "nowhere" in reason


def test_a_batch_is_followed_by_curl_over_a_cut(serve: Serve, provide: Provide) -> None:
    lines = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions"}
        | {"body": CHAT}
        for n in range(ITEMS)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with (
        provide("--latency", "constant:0.1") as upstream,
        serve("--base-url", upstream, "--in-flight", "2") as served,
    ):
        files = {"file": ("in.jsonl", text)}
        sent = httpx2.post(
            f"{served.url}/v1/files", data={"purpose": "batch"}, files=files
        )
        asked = {
            "input_file_id": sent.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        batch = httpx2.post(f"{served.url}/v1/batches", json=asked).json()["id"]
        path = f"/v1/batches/{batch}/events"
        with curl(served.url, path) as stream:
            seen = [next(stream) for _ in range(3)]
        with curl(served.url, path, seen[-1]["id"]) as stream:
            rest = [event for event in stream if "data" in event]
    assert seen[0]["event"] == rest[0]["event"] == "snapshot"
    assert status(rest[-1]) == "completed"
    told = json.loads(rest[-1]["data"])
    assert told["request_counts"] == {"total": ITEMS, "completed": ITEMS, "failed": 0}
    assert told["output_file_id"] is not None
    numbers = [int(event["id"].rpartition(":")[2]) for event in (*seen, *rest)]
    assert numbers == sorted(numbers)


def test_a_service_that_stops_lets_its_listeners_go(
    serve: Serve, provide: Provide
) -> None:
    with (
        serve("--base-url", "http://127.0.0.1:9", "--grace", "15") as served,
        socket_at(served.url, "/api/v1/events") as link,
        curl(served.url, "/api/v1/events") as stream,
    ):
        assert next(stream)["event"] == "snapshot"
        assert json.loads(link.recv(5))["type"] == "snapshot"
        served.process.send_signal(signal.SIGTERM)
        assert not [event for event in stream if "data" in event]
        _, code, _ = all_of(link)
        assert code in (1001, 1012)
        assert served.process.wait(5) == 0


def key_for(folder: Path) -> str:
    """Make a key with the command."""
    made = subprocess.run(
        [*COMMAND, "keys", "add", "--json"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    key: str = json.loads(made.stdout)["key"]
    return key


def test_a_browser_gives_its_key_as_a_subprotocol(serve: Serve, tmp_path: Path) -> None:
    key = key_for(tmp_path)
    with serve("--base-url", "http://127.0.0.1:9") as served:
        with socket_at(served.url, "/api/v1/events") as link:
            told, code, _ = all_of(link)
        assert (told, code) == ([], 4401)
        url = served.url.replace("http", "ws", 1) + "/api/v1/events"
        offered = [Subprotocol("headrace"), Subprotocol(f"bearer.{key}")]
        with connect(url, subprotocols=offered, close_timeout=2) as link:
            assert link.subprotocol == "headrace"
            assert json.loads(link.recv(5))["type"] == "snapshot"
