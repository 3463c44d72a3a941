"""The simulated provider in process: an HTTP client's port without any HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from multidict import CIMultiDict

from headrace.clock import Clock
from headrace.errors import Interrupted, Unreachable
from headrace.providers.transport import Outgoing
from headrace.simulation.asking import Asked
from headrace.simulation.upstream import Upstream
from headrace.simulation.visit import Fate, Phase, Visit

_BROKEN = "the simulated provider broke the connection "


class SimulatedTransport:
    """Sends requests to an upstream and takes as long as it says.

    Args:
        upstream: the model; its times must be this clock's.
        clock: of the loop, virtual or real.
        jitter_s: a request takes from 0 to so many seconds to arrive, evenly spread.
    """

    def __init__(
        self, upstream: Upstream, clock: Clock, *, jitter_s: float = 0.0
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._jitter_s = jitter_s

    async def send(self, request: Outgoing) -> SimulatedIncoming:
        """Send a request; as `headrace.providers.transport.Transport` demands."""
        if self._jitter_s > 0:
            await self._clock.sleep(self._clock.uniform() * self._jitter_s)
        visit = self._upstream.arrive(self._clock.monotonic(), _asked(request))
        if visit.fate is Fate.NO_CONNECTION:
            raise Unreachable("the simulated provider refuses connections")
        try:
            await self._be_started(visit)
            return await self._answer(visit)
        finally:
            if not visit.is_streamed:
                self._upstream.abort(self._clock.monotonic(), visit)

    async def close(self) -> None:
        """Close nothing; there are no connections."""

    async def _be_started(self, visit: Visit) -> None:
        if visit.is_started:
            return
        started = asyncio.Event()
        visit.on_start = started.set
        try:
            await started.wait()
        except BaseException:
            self._upstream.abort(self._clock.monotonic(), visit)
            raise

    async def _answer(self, visit: Visit) -> SimulatedIncoming:
        if visit.fate is Fate.HANG:
            await asyncio.get_running_loop().create_future()
        if visit.is_streamed:
            return await self._stream(visit)
        if visit.service_s > 0:
            await self._clock.sleep(visit.service_s)
        now = self._clock.monotonic()
        answer = self._upstream.finish(now, visit)
        if visit.fate is Fate.DROP_BEFORE:
            raise Interrupted(_BROKEN + "before the answer")
        headers = CIMultiDict(answer.headers)
        if visit.fate is Fate.DROP_WITHIN:
            half = answer.body[: len(answer.body) // 2]
            return SimulatedIncoming(answer.status, headers, [half], is_broken=True)
        return SimulatedIncoming(answer.status, headers, [answer.body])

    async def _stream(self, visit: Visit) -> SimulatedIncoming:
        now = self._clock.monotonic()
        events = self._upstream.pieces(now, visit)
        pause_s = visit.service_s / len(events)
        is_broken = visit.fate is Fate.DROP_WITHIN
        if is_broken:
            events = events[: max(1, len(events) // 2)]
        headers = CIMultiDict(self._upstream.headers(now, visit))
        stream = _Stream(self._upstream, self._clock, visit, pause_s)
        await stream.wait()
        return SimulatedIncoming(
            200, headers, events, is_broken=is_broken, stream=stream
        )


class _Stream:
    """The pace of a streamed answer, and its end."""

    def __init__(
        self, upstream: Upstream, clock: Clock, visit: Visit, pause_s: float
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._visit = visit
        self._pause_s = pause_s

    async def wait(self) -> None:
        try:
            await self._clock.sleep(self._pause_s)
        except BaseException:
            self.abort()
            raise

    def finish(self) -> None:
        if self._visit.phase is Phase.SERVING:
            self._upstream.finish(self._clock.monotonic(), self._visit)

    def abort(self) -> None:
        self._upstream.abort(self._clock.monotonic(), self._visit)


class SimulatedIncoming:
    """An answer whose head has come; as `headrace.providers.transport.Incoming`."""

    def __init__(
        self,
        status: int,
        headers: CIMultiDict[str],
        chunks: list[bytes],
        *,
        is_broken: bool = False,
        stream: _Stream | None = None,
    ) -> None:
        self._status = status
        self._headers = headers
        self._chunks: Iterator[bytes] = iter(chunks)
        self._is_broken = is_broken
        self._stream = stream
        self._is_first = True

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> CIMultiDict[str]:
        return self._headers

    async def chunk(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        chunk = next(self._chunks, b"")
        if chunk:
            if self._stream is not None and not self._is_first:
                await self._stream.wait()
            self._is_first = False
            return chunk
        if self._stream is not None:
            self._stream.finish()
        if self._is_broken:
            raise Interrupted(_BROKEN + "within the answer")
        return b""

    def abort(self) -> None:
        """Stop a streamed answer; idempotent."""
        if self._stream is not None:
            self._stream.abort()


def _asked(request: Outgoing) -> Asked:
    headers = request.headers
    key = headers.get("x-api-key") or headers.get("api-key")
    return Asked(
        method=request.method,
        path=request.url.raw_path_qs,
        body=request.body or b"",
        authorization=headers.get("authorization") or (f"Bearer {key}" if key else ""),
        call_id=headers.get("x-client-request-id", ""),
    )
