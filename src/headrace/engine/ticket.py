"""One admission: holds all permits of one call and settles them exactly once."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from headrace.engine.site import Site
from headrace.engine.siterates import NO_HOLD, Hold
from headrace.errors import CallError, ErrorCode, Unreachable
from headrace.model import Call, Endpoint, Quota, Usage
from headrace.policies.breaker import Breaker
from headrace.policies.concurrency import Sample, Verdict
from headrace.policies.health import NO_REFUSALS
from headrace.policies.ratebook import Refusal
from headrace.policies.retry import health_of, verdict_of

if TYPE_CHECKING:
    from headrace.engine.gate import Gate
    from headrace.engine.lane import Lane, Spell

_OK = Verdict.OK
"""Looked up once: 0.2 µs a time through the class (measured, Python 3.11)."""
_THROTTLE_BASE_S = 1.0
"""First pause of an endpoint that throttles without saying for how long."""
_THROTTLE_CAP_S = 60.0
_PARK_S = 300.0
"""An endpoint that asks for a longer pause is cut off for it.

Source: algorithm notes of this project, 3.2 (`max_server_wait`).
"""
_REFUSALS = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.TOO_MANY_CONCURRENT})


class Ticket(msgspec.Struct, eq=False):
    """What one call holds, or waits for; made by `Gate.enter`.

    A streamed reply takes the permits along: see `OwnedChunks`.
    """

    gate: Gate
    call: Call
    tokens: int
    """What it takes of the token limits."""
    asked_at: float
    """When it asked for its permits."""
    started_at: float
    """When it got them."""
    lane: Lane | None = None
    """Where it waits; None once it does not."""
    spell: Spell | None = None
    """What its lane waited for when it asked."""
    turn: asyncio.Future[None] | None = None
    """Done when it waits no more, for it has its permits or is refused; None if it
    never had to."""
    site: Site | None = None
    """Where its permits are from, while it has them."""
    hold: Hold = NO_HOLD
    """What it took of the rates there."""
    permit: int = 0
    """Of the endpoint's breaker."""
    number: int = 0
    """Which call of the endpoint it is, by when it started."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the call may go; only while it has its permits."""
        assert self.site is not None
        return self.site.endpoint

    # ---- ends of a call

    def succeeded(self, usage: Usage | None, quotas: tuple[Quota, ...]) -> None:
        """Give the permits back: the call was answered.

        Args:
            usage: what it really cost; None if nobody knows.
            quotas: what the provider says of its limits.
        """
        site = self.site
        assert site is not None
        now = self.gate.clock.monotonic()
        if usage is not None:
            self._settle(site, usage, now)
        site.answered(self.call, quotas, now)
        site.throttles = 0
        site.refusals = NO_REFUSALS
        duration_s = now - self.started_at
        # With one endpoint there is nothing to compare: its peak is enough.
        if self.gate.placement.has_choice or duration_s > site.latency.peak_s:
            site.latency = site.latency.answered(now, duration_s)
        site.budget = site.budget.deposit()
        before = site.breaker
        if before.state == "closed":
            site.breaker = before.answered(now, self.permit)
        else:
            self._observe_breaker(site, "ok", now, None)
        self._release(site, now, _OK)

    def _settle(self, site: Site, usage: Usage, now: float) -> None:
        """Let the rate and the flow know what the call really cost."""
        if site.rate.terms.settles or self.hold.learnt:
            site.settle(self.call, self.hold, usage, now)
        more = usage.total_tokens - self.tokens
        if more:
            self.gate.correct_share(self.call, float(more))

    def failed(self, error: BaseException) -> None:
        """Give back whatever it holds, or its place in the queue: it ends so."""
        site = self.site
        if site is None:
            if self.lane is not None:
                self.gate.leave(self)
        elif isinstance(error, CallError):
            self._call_failed(site, error)
        else:
            self.broke_off()

    def broke_off(self) -> None:
        """Give the permits back and learn nothing: the call was not finished."""
        site = self.site
        assert site is not None
        site.breaker = site.breaker.release(self.permit)
        self.site = None
        self.gate.ended(site, self.gate.clock.monotonic())

    def _call_failed(self, site: Site, error: CallError) -> None:
        now = self.gate.clock.monotonic()
        rule = verdict_of(error)
        if isinstance(error, Unreachable) and self.hold is not NO_HOLD:
            site.give_back(self.hold)
        code = error.code
        if code is ErrorCode.RATE_LIMITED:
            self._rate_refused(site, error, now)
        elif code is ErrorCode.TOO_MANY_CONCURRENT and site.in_flight == 1:
            # Refused though nothing else of ours is in flight: no limit is low enough.
            self._pause(site, error, now)
        # Asked only where it matters: most failures say the same whoever else is there.
        has_other = code is ErrorCode.BAD_REPLY and self.gate.placement.has_other(
            {site.endpoint.name}, self.call.model
        )
        health = health_of(error, has_other=has_other)
        self._observe_breaker(site, health, now, error.retry_after_s)
        self._park_if_hopeless(site, error, now)
        self._release(site, now, rule.limiter)

    def _rate_refused(self, site: Site, error: CallError, now: float) -> None:
        """Hold back what the provider refuses: the rate it named, or the model."""
        call = self.call
        refusal = Refusal(
            self.started_at,
            call.cost,
            error.dimension,
            error.retry_after_s,
            error.limit_per_minute,
        )
        if not site.refused(call, refusal, now, self.gate.clock.uniform()):
            self._pause(site, error, now)

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
            self.call.model, now + wait_s * (1 + 0.1 * self.gate.clock.uniform())
        )

    def _observe_breaker(
        self, site: Site, verdict: str, now: float, wait_s: float | None
    ) -> None:
        before = site.breaker
        has_choice = self.gate.placement.has_choice
        after = before.observe(
            now,
            self.permit,
            verdict,
            self.gate.clock.uniform(),
            wait_s,
            0 if has_choice else site.in_flight - 1,
        )
        if (
            after.state != before.state == "closed"
            and not after.is_hard
            and not self.gate.placement.may_eject()
        ):
            after = before.counted(now, failed=True)
        self._move_breaker(site, after, now)

    def _park_if_hopeless(self, site: Site, error: CallError, now: float) -> None:
        """Cut off an endpoint that refuses all, or wants no calls for long."""
        wait_s, reason = error.retry_after_s, ""
        if error.code in _REFUSALS:
            site.refusals = site.refusals.refused(now)
            if site.refusals.is_hopeless(now, site.latency):
                quiet_s = now - site.refusals.since
                reason = f"{site.refusals.count} calls refused within {quiet_s:.0f} s"
        if wait_s is not None and wait_s > _PARK_S:
            reason = f"it asked for a pause of {wait_s:.0f} s"
        if reason and site.breaker.state != "open":
            u = self.gate.clock.uniform()
            self._move_breaker(site, site.breaker.parked(now, u, wait_s, reason), now)

    def _move_breaker(self, site: Site, after: Breaker, now: float) -> None:
        before, site.breaker = site.breaker, after
        if after.state != before.state:
            if after.state == "closed":
                site.warm_up(now)
            self.gate.placement.breaker_moved(site)

    def _release(self, site: Site, now: float, verdict: Verdict) -> None:
        """Give the concurrency permit back; the last step, exactly once."""
        duration_s = now - self.started_at
        self.call.trace.in_flight_s += duration_s
        before = site.limit
        if before.learns:
            site.learn(
                Sample(
                    self.started_at,
                    duration_s,
                    site.in_flight,
                    verdict,
                    self.number,
                    site.started,
                )
            )
            if site.limit.value != before.value:
                self.gate.count_capacity()
        self.site = None
        self.gate.ended(site, now)


class Admission:
    """One call's stay at the gate, as an `async with` block.

    An exception that leaves the block is what became of the call. A block that ends
    well may say more by `Ticket.succeeded` before its end.
    """

    __slots__ = ("_call", "_gate", "_ticket")

    def __init__(self, gate: Gate, call: Call) -> None:
        self._gate = gate
        self._call = call
        self._ticket: Ticket | None = None

    async def __aenter__(self) -> Ticket:
        ticket = self._ticket = self._gate.enter(self._call)
        try:
            if ticket.turn is not None:
                await ticket.turn
        except BaseException as error:
            ticket.failed(error)
            raise
        return ticket

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._ticket is not None
        if error is not None:
            self._ticket.failed(error)
        elif self._ticket.site is not None:
            self._ticket.succeeded(None, ())
