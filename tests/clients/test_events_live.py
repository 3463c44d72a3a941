"""The real curl, and a WebSocket, follow a batch over cuts and miss nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from clients_live import need_command

pytestmark = [pytest.mark.live, pytest.mark.slow]

LINES = 400
BODY = {"model": "m", "messages": [{"role": "user", "content": "Name a river."}]}
Told = dict[str, Any]
"""One event: `event`, `id`, `data`."""
Listen = Callable[[str, str], contextlib.AbstractContextManager[Iterator[Told]]]


@pytest.fixture
def web(place: Any) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {place.key}"}
    with httpx2.Client(base_url=place.served.url, headers=headers) as web:
        yield web


def batch_of(web: httpx2.Client, count: int = LINES) -> str:
    """Make a batch, return its id; LINES need about a second."""
    line = {"method": "POST", "url": "/v1/chat/completions", "body": BODY}
    rows = (json.dumps({"custom_id": f"r{n}"} | line) for n in range(count))
    text = "".join(f"{row}\n" for row in rows)
    sent = web.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", text)}
    )
    asked = {
        "input_file_id": sent.json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made: str = web.post("/v1/batches", json=asked).json()["id"]
    return made


def job_of(web: httpx2.Client, batch: str) -> str:
    """Return the job of a batch, which it has once its input was checked."""
    while (job := web.get(f"/v1/batches/{batch}").json()["job_id"]) is None:
        pass
    found: str = job
    return found


@pytest.fixture(params=["curl", "websocket"])
def listen(request: pytest.FixtureRequest, place: Any) -> Listen:
    """Listen under a path from after an event on, until cut off or told all."""
    if request.param == "curl":
        return lambda path, last: by_curl(place, path, last)
    return lambda path, last: by_websocket(place, path, last)


@contextlib.contextmanager
def by_curl(place: Any, path: str, last: str) -> Iterator[Iterator[Told]]:
    """Run `curl -N`; leaving kills it, as a lost connection would end it."""
    command = [need_command("curl"), "-sSfN", place.served.url + path]
    command += ["-H", f"Authorization: Bearer {place.key}"]
    command += ["-H", f"Last-Event-ID: {last}"] if last else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        try:
            yield events_of(curl)
        finally:
            curl.kill()


def events_of(curl: subprocess.Popen[str]) -> Iterator[Told]:
    assert curl.stdout is not None
    told: Told = {}
    for line in curl.stdout:
        name, _, value = line.rstrip("\n").partition(": ")
        if name in ("event", "id"):
            told[name] = value
        elif name == "data":
            yield told | {"data": json.loads(value)}
            told = {}
    assert curl.wait() == 0


@contextlib.contextmanager
def by_websocket(place: Any, path: str, last: str) -> Iterator[Iterator[Told]]:
    joint = "&" if "?" in path else "?"
    url = place.served.url.replace("http", "ws", 1) + path
    url += f"{joint}last_event_id={last}" if last else ""
    headers = {"authorization": f"Bearer {place.key}"}
    with connect(url, additional_headers=headers, close_timeout=2) as link:
        yield messages_of(link)


def messages_of(link: Any) -> Iterator[Told]:
    closed = None
    while closed is None:
        try:
            told = json.loads(link.recv(10))
        except ConnectionClosed as error:
            closed = error.rcvd
        else:
            yield {"event": told["type"], "id": told["id"], "data": told["data"]}
    assert (closed.code, closed.reason) == (1000, "ended")


def over_cuts(listen: Listen, path: str, counts: tuple[int, ...]) -> list[list[Told]]:
    """Return what each connection told: so many events each, then all to the end."""
    parts: list[list[Told]] = []
    last = ""
    for count in (*counts, None):
        with listen(path, last) as told:
            parts.append(list(islice(told, count)))
        last = parts[-1][-1]["id"]
    return parts


def version(told: Told) -> int:
    return int(told["id"].rpartition(":")[2])


def test_a_batch_is_followed_over_two_cuts_to_its_full_state(
    listen: Listen, web: httpx2.Client
) -> None:
    batch = batch_of(web)
    path = f"/v1/batches/{batch}/events"
    parts = over_cuts(listen, path, (2, 3))
    assert [part[0]["event"] for part in parts] == ["snapshot"] * 3
    told = [event for part in parts for event in part]
    assert [version(event) for event in told] == sorted(map(version, told))
    counts = [event["data"]["request_counts"]["completed"] for event in told]
    assert counts == sorted(counts)
    assert 0 < counts[4] < LINES
    assert told[-1]["data"] == web.get(f"/v1/batches/{batch}").json()
    assert told[-1]["data"]["status"] == "completed"
    assert counts[-1] == LINES


def test_each_item_is_told_once_over_three_cuts(
    listen: Listen, web: httpx2.Client
) -> None:
    path = f"/api/v1/jobs/{job_of(web, batch_of(web))}/events?items=true"
    parts = over_cuts(listen, path, (50, 1, 200))
    items = [
        event["data"]["custom_id"]
        for part in parts
        for event in part
        if event["event"] == "item"
    ]
    assert len(items) == LINES
    assert set(items) == {f"r{n}" for n in range(LINES)}


def test_curl_that_has_seen_the_end_is_told_not_to_come_again(
    place: Any, web: httpx2.Client
) -> None:
    path = f"/v1/batches/{batch_of(web, 3)}/events"
    with by_curl(place, path, "") as told:
        *_, last = told
    with by_curl(place, path, last["id"]) as told:
        assert list(told) == []
    again = web.get(path, headers={"last-event-id": last["id"]})
    assert again.status_code == 204
