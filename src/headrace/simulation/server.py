"""The simulated provider as an HTTP server, with counters and levers of its own.

`/_stats` shows the counters (`?ids=1` repeated items and bodies, `?ids=all` each one),
`POST /_reset` counts from zero, `POST /_scenario` changes settings at run time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qs

import msgspec

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.simulation.answering import error_body
from headrace.simulation.asking import Asked
from headrace.simulation.connection import Connection
from headrace.simulation.scenario import Scenario, scenario_from
from headrace.simulation.upstream import Upstream
from headrace.simulation.visit import Answer

_BACKLOG = 4096
_RETRY_LISTEN_S = 0.05


class SimulatedServer:
    """A listening simulated provider; made by `serving`."""

    def __init__(self, upstream: Upstream, clock: Clock, key: str | None) -> None:
        self.upstream = upstream
        self.connections: set[Connection] = set()
        self.host = ""
        self.port = 0
        self._clock = clock
        self._key = key
        self._listener: asyncio.Server | None = None
        self._scenario_changed = asyncio.Event()

    @property
    def base_url(self) -> str:
        """Where it answers, without `/v1`."""
        return f"http://{self.host}:{self.port}"

    async def listen(self, host: str, port: int) -> None:
        """Open the port; 0 picks a free one.

        Raises:
            OSError: it is in use, or the address is not ours.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self), host, port, backlog=_BACKLOG, reuse_address=True
        )
        bound: socket.socket = self._listener.sockets[0]
        self.host, self.port = host, bound.getsockname()[1]

    def close(self) -> None:
        """Close the port and cut all connections; idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self.connections):
            connection.abort()

    async def follow_outages(self) -> None:
        """Close the port while an outage refuses connections; never returns."""
        while True:
            now = self._clock.monotonic()
            is_refusing = self.upstream.outage(now) == "refuse"
            if is_refusing and self._listener is not None:
                self.close()
            elif not is_refusing and self._listener is None:
                await self._listen_again()
            self._scenario_changed.clear()
            try:
                async with asyncio.timeout(self._until_next_edge_s(now)):
                    await self._scenario_changed.wait()
            except TimeoutError:
                continue

    async def _listen_again(self) -> None:
        """Open the same port, however long another process may sit on it."""
        while self._listener is None:
            try:
                await self.listen(self.host, self.port)
            except OSError:
                await self._clock.sleep(_RETRY_LISTEN_S)

    def _until_next_edge_s(self, now: float) -> float | None:
        elapsed_s = self.upstream.elapsed_s(now)
        outages = self.upstream.scenario.outages
        edges = [edge for outage in outages for edge in (outage.from_s, outage.to_s)]
        return min(
            (edge - elapsed_s for edge in edges if edge > elapsed_s), default=None
        )

    def control(self, asked: Asked) -> Answer | None:
        """Answer a request about the server itself; None = it is a call."""
        if not asked.path.startswith("/_"):
            return None
        if not self._may_control(asked):
            return _refused(401, "This server's key is needed.")
        path, _, query = asked.path.partition("?")
        reads = asked.method in ("GET", "HEAD")
        match path:
            case "/_stats" if reads:
                return _json(self._statistics(parse_qs(query).get("ids", [""])[0]))
            case "/_reset" if asked.method == "POST":
                self.upstream.reset()
                return _json(self._statistics(""))
            case "/_scenario" if reads:
                return _json(msgspec.to_builtins(self.upstream.scenario))
            case "/_scenario" if asked.method == "POST":
                return self._change_scenario(asked.body)
        return _refused(404, f"Nothing answers {asked.method} {path}.")

    def _may_control(self, asked: Asked) -> bool:
        expected = f"Bearer {self._key}".encode()
        return self._key is None or compare_digest(
            asked.authorization.encode(), expected
        )

    def _statistics(self, ids: str) -> dict[str, Any]:
        found = self.upstream.tally.snapshot()
        now = self._clock.monotonic()
        found["elapsed_s"] = round(self.upstream.elapsed_s(now), 3)
        found["connections"] = len(self.connections)
        if ids:
            found["ids"] = self.upstream.tally.ids(whole=ids == "all")
        return found

    def _change_scenario(self, body: bytes) -> Answer:
        try:
            settings = msgspec.json.decode(body, type=dict[str, Any])
            scenario = scenario_from(settings, self.upstream.scenario)
        except (ConfigError, msgspec.DecodeError, UnicodeDecodeError) as error:
            return _refused(400, str(error))
        if scenario.require_key != self.upstream.scenario.require_key:
            return _refused(400, "require_key can only be set at the start.")
        self.upstream.change(self._clock.monotonic(), scenario)
        self._scenario_changed.set()
        return _json(msgspec.to_builtins(scenario))


def _json(value: Any) -> Answer:
    return Answer(200, (), msgspec.json.encode(value))


def _refused(status: int, message: str) -> Answer:
    return Answer(status, (), error_body(message, "invalid_request_error", None, None))


@asynccontextmanager
async def serving(
    scenario: Scenario,
    clock: Clock,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
) -> AsyncIterator[SimulatedServer]:
    """Serve a scenario until the block is left; then all connections are cut.

    Args:
        scenario: how the provider behaves.
        clock: its monotonic time must be the running loop's.
        host: address to listen on.
        port: 0 picks a free one.
        key: what calls and control must bear; None = anything.

    Raises:
        OSError: the port is in use, or the address is not ours.
    """
    now = clock.monotonic()
    upstream = Upstream(scenario, now, utc_offset_s=clock.utc() - now, key=key)
    server = SimulatedServer(upstream, clock, key)
    await server.listen(host, port)
    following = asyncio.create_task(server.follow_outages(), name="follow outages")
    try:
        yield server
    finally:
        following.cancel()
        await asyncio.wait([following])
        server.close()
