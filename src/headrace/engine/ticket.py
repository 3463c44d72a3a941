"""One admission: holds all permits of one call and settles them exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

from headrace.errors import CallError, ErrorCode, Unreachable
from headrace.model import Call, Endpoint, Quota, Reply, Usage
from headrace.policies.concurrency import Sample, Verdict
from headrace.policies.retry import verdict_of

if TYPE_CHECKING:
    from headrace.engine.gate import Gate
    from headrace.engine.site import Site

_THROTTLE_BASE_S = 1.0
"""First pause of an endpoint that throttles without saying for how long."""
_THROTTLE_CAP_S = 60.0


class Ticket:
    """Waits for all permits on entering, gives them back on leaving.

    A streamed reply takes the permits along: see `own_stream`.
    """

    __slots__ = (
        "_future",
        "_gate",
        "_owned_by_stream",
        "call",
        "costs",
        "permit",
        "site",
        "start_at",
        "started_at",
        "usage",
        "waited_before",
    )

    def __init__(self, gate: Gate, call: Call) -> None:
        self._gate = gate
        self._future: asyncio.Future[None] | None = None
        self._owned_by_stream = False
        self.call = call
        self.costs: tuple[float, ...] = ()
        self.permit = 0
        self.site: Site | None = None
        self.start_at = 0.0
        """When its rate reservation began."""
        self.started_at = 0.0
        """When it got its permits; before that, when it asked for them."""
        self.usage: Usage | None = None
        self.waited_before = (0.0, 0.0, 0.0)

    @property
    def endpoint(self) -> Endpoint:
        """Where the call may go; only inside the block."""
        assert self.site is not None
        return self.site.endpoint

    def wake(self, now: float) -> None:
        """All permits are here; called by the gate."""
        assert self._future is not None
        self.started_at = now
        if not self._future.done():
            self._future.set_result(None)

    def refuse(self, error: Exception) -> None:
        """The wait is over without permits; called by the gate."""
        assert self._future is not None
        if not self._future.done():
            self._future.set_exception(error)

    async def __aenter__(self) -> Ticket:
        gate = self._gate
        if not gate.try_place(self):
            await self._wait()
        assert self.site is not None
        self.call.trace.endpoint = self.site.endpoint.name
        return self

    async def _wait(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        self._gate.enqueue(self)
        try:
            await self._future
        except asyncio.CancelledError:
            if self.site is None:
                self._gate.leave(self)
            else:
                self._release(None, Verdict.IGNORED)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            if not self._owned_by_stream:
                self._succeeded()
        elif isinstance(error, CallError):
            self._failed(error)
        else:
            self._release(None, Verdict.IGNORED)

    def own_stream(self, reply: Reply) -> Reply:
        """Let the chunks of `reply` own the permits until they end, fail or close."""
        assert reply.chunks is not None
        self._owned_by_stream = True
        reply.chunks = OwnedChunks(self, reply)
        return reply

    def settle(self, usage: Usage | None, quotas: tuple[Quota, ...]) -> None:
        """Learn what the call really cost and what the provider says of its limits."""
        self.usage = usage
        if quotas and self.site is not None:
            self.site.quotas = quotas

    # ---- ends of a call

    def _succeeded(self) -> None:
        site = self.site
        assert site is not None
        now = self._gate.clock.monotonic()
        if site.rate.dims and self.usage is not None:
            used = site.rate.costs(self.usage.total_tokens)
            site.rate = site.rate.settle(now, self.costs, used, self.start_at)
        site.throttles = 0
        site.budget = site.budget.deposit()
        self._observe_breaker("ok", now, None)
        self._release(now, Verdict.OK)

    def _failed(self, error: CallError) -> None:
        site = self.site
        assert site is not None
        now = self._gate.clock.monotonic()
        rule = verdict_of(error)
        if isinstance(error, Unreachable) and site.rate.dims:
            site.rate = site.rate.give_back(self.costs, self.start_at)
        if error.code is ErrorCode.RATE_LIMITED:
            self._pause(site, error, now)
        self._observe_breaker(rule.breaker, now, error.retry_after_s)
        self._release(now, rule.limiter)

    def broke_off(self) -> None:
        """The stream was closed before its end: give the permits back, learn nothing."""
        self._release(None, Verdict.IGNORED)

    def stream_ended(self, error: CallError | None) -> None:
        """The stream ended by itself, or failed: settle like any other call."""
        if error is None:
            self._succeeded()
        else:
            self._failed(error)

    def _pause(self, site: Site, error: CallError, now: float) -> None:
        """Start no more calls of this model here until the provider wants them."""
        site.throttles += 1
        wait_s = error.retry_after_s
        if wait_s is None:
            ceiling_s = min(
                _THROTTLE_CAP_S, _THROTTLE_BASE_S * 2 ** (site.throttles - 1)
            )
            wait_s = ceiling_s / 2
        site.pause(
            self.call.model, now + wait_s * (1 + 0.1 * self._gate.clock.uniform())
        )

    def _observe_breaker(self, verdict: str, now: float, wait_s: float | None) -> None:
        site = self.site
        assert site is not None
        before = site.breaker
        after = before.observe(
            now, self.permit, verdict, self._gate.clock.uniform(), wait_s
        )
        if after is not before:
            site.breaker = after
            if after.state != before.state:
                self._gate.placement.breaker_moved(site)

    def _release(self, now: float | None, verdict: Verdict) -> None:
        """Give the concurrency permit back; the last step, exactly once."""
        site = self.site
        assert site is not None
        if now is None:
            site.breaker = site.breaker.release(self.permit)
        else:
            duration_s = now - self.started_at
            self.call.trace.in_flight_s += duration_s
            sample = Sample(self.started_at, duration_s, site.in_flight, verdict)
            site.limit = site.limit.observe(sample)
        self.site = None
        self._gate.ended(site)


class OwnedChunks:
    """Chunks of a streamed reply that give the permits back when they end."""

    def __init__(self, ticket: Ticket, reply: Reply) -> None:
        assert reply.chunks is not None
        self._ticket = ticket
        self._reply = reply
        self._chunks = reply.chunks
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            if self._end():
                self._ticket.settle(self._reply.usage, self._reply.quotas)
                self._ticket.stream_ended(None)
            raise
        except CallError as error:
            if self._end():
                self._ticket.stream_ended(error)
            raise
        except BaseException:
            if self._end():
                self._ticket.broke_off()
            raise

    async def aclose(self) -> None:
        """Stop reading: close the call and give its permits back; idempotent."""
        try:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()
        finally:
            if self._end():
                self._ticket.broke_off()

    def _end(self) -> bool:
        first, self._over = not self._over, True
        return first
