"""The course of one `headrace serve`: listens, answers, and stops in good order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import uvicorn

from headrace.cli.exits import Exit
from headrace.cli.servekeys import EndpointKeys
from headrace.cli.servewords import start_lines, stopped_line, stopping_line
from headrace.clock import Clock
from headrace.config import ServeSettings
from headrace.engine.pool import check_pool
from headrace.errors import ConfigError, OutputError, StoreError
from headrace.ports.tracing import Tracing
from headrace.service.api import make_app
from headrace.service.connection import connection_class
from headrace.service.core import ROUTE, Service, open_service, served_route
from headrace.service.loopback import is_loopback
from headrace.service.operations.tracing import traced
from headrace.telemetry.logs import Masking, logging_to

_KEEP_ALIVE_S = 75
"""Seconds that an idle connection is kept: longer than load balancers keep theirs."""
_BACKLOG = 2_048
_TICK_S = 0.005
_LAST_LOOK_S = 1.0
_GARBAGE = (10_000, 20, 20)
"""How much is made before garbage is collected. By default all that lives is looked
through while calls become more: 0.17 s, in which nobody is answered, at 5,000 calls."""
_KEYS_S = 5.0
_log = logging.getLogger("headrace.serve")


class Serving:
    """Runs one service until it is asked to stop.

    Args:
        settings: checked.
        environ: where the keys of endpoints are.
        clock: time and chance.

    Raises:
        ConfigError: no address to call, or no key for it.
    """

    def __init__(
        self, settings: ServeSettings, environ: Mapping[str, str], clock: Clock
    ) -> None:
        route = served_route(settings)
        if not route.endpoints:
            raise ConfigError(
                "--base-url: given nothing, allowed the address to call, such as "
                "http://127.0.0.1:8000/v1"
            )
        check_pool(route.endpoints)
        self._settings = settings
        self._endpoints = route.endpoints
        self._clock = clock
        self._environ = environ
        self._keys = EndpointKeys(settings, environ)
        self._masking = Masking(self._keys.secrets)
        self._requests = 0
        self._hung_up = asyncio.Event()
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()

    async def run(self) -> Exit:
        """Serve; return once stopped: 0 if all under way had ended, else 3.

        Raises:
            HeadraceError: see `exits` for what each leads to.
        """
        settings = self._settings
        with _listening(settings) as listener, self._hearing_signals():
            async with (
                self._logging() as tracing,
                open_service(settings, self._keys.of, self._clock, tracing) as service,
            ):
                await _check_host(service)
                config = uvicorn.Config(
                    make_app(service),
                    http=connection_class(settings),
                    ws="websockets-sansio",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    timeout_keep_alive=_KEEP_ALIVE_S,
                )
                server = _Server(config)
                serving = asyncio.create_task(server.serve([listener]))
                try:
                    await self._wait_started(server, serving)
                    await self._tell_ready(service, _url_of(listener))
                    await self._wait_asked(service, serving)
                    return await self._stop(service, server, serving)
                finally:
                    server.cut_off()
                    await asyncio.wait([serving])

    @contextlib.asynccontextmanager
    async def _logging(self) -> AsyncIterator[Tracing | None]:
        """Write what is logged to stderr, without the keys; trace, if asked to."""
        is_json = self._settings.log == "json"
        with (
            logging_to(sys.stderr, self._masking, as_json=is_json),
            traced(self._environ, self._settings.dialect) as tracing,
        ):
            yield tracing

    async def _wait_started(self, server: _Server, serving: asyncio.Task[None]) -> None:
        while not server.started and not serving.done():
            await self._clock.sleep(_TICK_S)
        if serving.done():
            await serving
        # What the start has made stays: no collection need look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        gc.enable()

    async def _tell_ready(self, service: Service, url: str) -> None:
        """Tell people on stderr how it stands, and programs on stdout that it does."""
        lines = start_lines(
            self._settings,
            self._endpoints,
            url,
            needs_key=await service.keys.are_any(),
            queued=await service.home.store.queued([ROUTE]),
        )
        for line in lines:
            _log.info("%s", line)
        sys.stdout.write(f"ready {url}\n")
        sys.stdout.flush()

    async def _wait_asked(self, service: Service, serving: asyncio.Task[None]) -> None:
        """Wait for a signal.

        Raises:
            StoreError: the store fails for good, so there is nothing to serve.
        """
        asked: asyncio.Task[object] = asyncio.create_task(self._asked.wait())
        engine: asyncio.Task[object] = asyncio.create_task(service.home.wait_over())
        keys: asyncio.Task[object] = asyncio.create_task(self._follow_keys(service))
        watched: list[asyncio.Task[Any]] = [asked, engine, keys, serving]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in (engine, keys, serving):
            if task.done():
                await task
        for task in (asked, engine, keys):
            task.cancel()

    async def _follow_keys(self, service: Service) -> None:
        """Read the key again on SIGHUP and every few seconds, for its file may change.

        With another key, and always on SIGHUP, jobs go on that were paused since the
        provider refused ours.
        """
        refused = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KEYS_S):
                    await self._hung_up.wait()
            is_asked = self._hung_up.is_set()
            self._hung_up.clear()
            try:
                is_new = self._keys.read_again()
            except ConfigError as error:
                if is_asked or str(error) != refused:
                    _log.warning("the former key stays: %s", error)
                refused = str(error)
                continue
            refused = ""
            self._masking.know(self._keys.secrets)
            if is_new or is_asked:
                count = await service.home.go_on()
                _log.warning("keys were read again; %d paused jobs go on", count)

    async def _stop(
        self, service: Service, server: _Server, serving: asyncio.Task[None]
    ) -> Exit:
        """Take no more; give what is under way `grace` seconds to end."""
        _log.info("%s", stopping_line(self._settings.grace))
        server.should_exit = True
        draining = asyncio.create_task(service.home.drain(self._settings.grace))
        ended = asyncio.create_task(_all_of(serving, draining))
        hurried = asyncio.create_task(self._hurried.wait())
        either: list[asyncio.Task[bool]] = [ended, hurried]
        await asyncio.wait(
            either,
            timeout=self._settings.grace,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurried.cancel()
        is_clean = ended.done() and ended.result()
        draining.cancel()
        queued = await _left_behind(service)
        _log.info("%s", stopped_line(is_clean=is_clean, queued=queued))
        return Exit.SUCCEEDED if is_clean else Exit.INTERRUPTED

    @contextlib.contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)
        try:
            yield
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _request_stop(self) -> None:
        self._requests += 1
        (self._asked if self._requests == 1 else self._hurried).set()


async def _left_behind(service: Service) -> int:
    """Return how many items wait; 0 if the store does not say so soon."""
    with contextlib.suppress(StoreError, TimeoutError):
        async with asyncio.timeout(_LAST_LOOK_S):
            return await service.home.store.queued([ROUTE])
    return 0


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server, stopped by us alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def cut_off(self) -> None:
        """Wait no longer for requests under way: cancel them."""
        self.should_exit = self.force_exit = True
        for task in list(self.server_state.tasks):
            task.cancel()


async def _all_of(serving: asyncio.Task[None], draining: asyncio.Task[bool]) -> bool:
    """Wait until nothing is under way; return whether all items had ended."""
    await asyncio.wait([serving])
    return await draining


async def _check_host(service: Service) -> None:
    """Refuse to let strangers in.

    Raises:
        ConfigError: another address than loopback, and no keys.
    """
    host = service.settings.host
    if not is_loopback(host) and not await service.keys.are_any():
        raise ConfigError(
            f"--host: given {host!r} without keys, so that whoever reaches it could use "
            "it; allowed 127.0.0.1, ::1 or localhost, or make a key first: "
            "headrace keys add"
        )


@contextlib.contextmanager
def _listening(settings: ServeSettings) -> Iterator[socket.socket]:
    """Take the address, before anything else is touched.

    Raises:
        ConfigError: it is none of this machine's.
        OutputError: another process has it.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"--host: given {host!r}, allowed an address of this machine ({error})"
        ) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise OutputError(
                f"cannot listen on {host} port {port}: {error.strerror}"
            ) from None
        listener.setblocking(False)
        yield listener
