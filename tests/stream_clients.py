"""Clients that read events as `curl -N` does."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

Event = dict[str, str]


@contextlib.contextmanager
def curl(
    url: str, path: str, last_id: str = "", key: str = ""
) -> Iterator[Iterator[Event]]:
    """Read events from a socket."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as link:
        header = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        header += f"Authorization: {key}\r\n" if key else ""
        link.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{header}\r\n".encode()
        )
        with link.makefile("rb") as lines:
            yield events(lines)


def events(stream: Any) -> Iterator[Event]:
    """Give each event; the last one holds what came after them."""
    event: Event = {"http": stream.readline().split()[1].decode()}
    while line := stream.readline():
        name, colon, value = line.decode().strip().partition(": ")
        if name in ("event", "id", "data", "retry") and colon:
            event[name] = value
            if name == "data":
                yield event
                event = {}
        elif line == b"0\r\n":
            return
    yield event


def status(event: Event) -> str:
    """Return how the job or batch of an event stands."""
    told = json.loads(event["data"])
    found: str = told["status"] if told["object"] == "batch" else told["state"]
    return found
