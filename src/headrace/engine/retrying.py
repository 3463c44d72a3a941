"""Owns the attempts of one item: tries, waits without holding anything, tries again."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from headrace.clock import Clock
from headrace.engine.deadlines import Deadlines
from headrace.engine.gate import Gate
from headrace.engine.vigil import SUSPECT, Vigil
from headrace.errors import CallError, PermanentError, TimedOut
from headrace.events import Listener, TryFailed
from headrace.model import Call, Handler, Layer, Reply, Retry
from headrace.policies.retry import (
    GiveUp,
    RetryAfter,
    decide,
    may_go_elsewhere,
    verdict_of,
)

_HELD_BASE_S = 0.5
_HELD_CAP_S = 5.0


class Rest(Protocol):
    """Where an item goes while it backs off, so that another may take its place."""

    async def rest(self, seconds: float) -> None:
        """Wait `seconds`; the caller does not count as active meanwhile."""
        ...


class RetryTools(msgspec.Struct, frozen=True):
    """What the retry layer works with."""

    gate: Gate
    deadlines: Deadlines
    clock: Clock
    rest: Rest
    listener: Listener
    vigil: Vigil | None = None
    """None: every failure is the item's own."""


def retrying(retry: Retry, tools: RetryTools) -> Layer:
    """Return the layer that repeats failed attempts as `retry` and the errors allow.

    The error of an item's last attempt passes on to the caller.
    """

    def layer(handler: Handler) -> Handler:
        vigil = tools.vigil

        async def handle(call: Call) -> Reply:
            course: _Course | None = None
            while True:
                try:
                    reply = await handler(call)
                except CallError as error:
                    course = course or _Course(retry, tools, call)
                    await course.wait_next(error)
                else:
                    call.trace.attempts += 1
                    if vigil is not None:
                        vigil.answered()
                    return reply

        return handle

    return layer


def limiting(total_s: float | None, deadlines: Deadlines, clock: Clock) -> Layer:
    """Return the layer that ends an item `total_s` after it began, waits included."""

    def layer(handler: Handler) -> Handler:
        if total_s is None:
            return handler

        async def handle(call: Call) -> Reply:
            limit = deadlines.start(clock.monotonic() + total_s)
            try:
                return await handler(call)
            except asyncio.CancelledError:
                if limit.absorbs_cancel():
                    raise TimedOut(f"not finished within its {total_s:g} s") from None
                raise
            finally:
                deadlines.stop(limit)

        return handle

    return layer


class _Course:
    """The failures of one item so far; made for each, used when something fails."""

    __slots__ = ("_answers", "_call", "_refused_by", "_retry", "_streak", "_tools")

    def __init__(self, retry: Retry, tools: RetryTools, call: Call) -> None:
        self._retry = retry
        self._tools = tools
        self._call = call
        self._streak = 0
        self._refused_by: set[str] = set()
        """Endpoints that failed it for good, where others may not."""
        self._answers: int | None = None

    async def wait_next(self, error: CallError) -> None:
        """Wait until the next try is due; raise `error` if there is none."""
        self._streak += 1
        wait_s = self._wait_s(error)
        tools, trace = self._tools, self._call.trace
        tools.listener(
            TryFailed(
                self._call.id,
                error.code,
                error.message,
                trace.endpoint,
                wait_s,
                trace.tries,
            )
        )
        if wait_s is None:
            raise error
        slept_at = tools.clock.monotonic()
        try:
            await tools.rest.rest(wait_s)
        finally:
            trace.backoff_s += tools.clock.monotonic() - slept_at
            if tools.vigil is not None:
                tools.vigil.held.discard(self._call.id)

    def _wait_s(self, error: CallError) -> float | None:
        """Return how long to wait before the next try; None = give up."""
        vigil = self._tools.vigil
        if vigil is not None and not self._asks_another_model(error):
            vigil.failed(error, self._call.trace.endpoint)
            if vigil.holds(error, self._answers):
                self._answers = vigil.answers
                vigil.held.add(self._call.id)
                return min(_HELD_CAP_S, _HELD_BASE_S * 2.0 ** min(self._streak, 10))
        return self._own_wait_s(error)

    def _asks_another_model(self, error: CallError) -> bool:
        """Is this for another model to answer, rather than a sign of an outage?"""
        return error.code in SUSPECT and error.code in self._call.falls_back_on

    def _own_wait_s(self, error: CallError) -> float | None:
        tools, call = self._tools, self._call
        now = tools.clock.monotonic()
        decision = decide(
            error,
            self._retry,
            call.trace.attempts + 1,
            tools.clock.uniform(),
            None if call.deadline is None else call.deadline - now,
            repeatable=call.repeatable,
            streak=self._streak,
        )
        match decision:
            case GiveUp():
                call.trace.attempts += 1
                return 0.0 if self._goes_elsewhere(error) else None
            case RetryAfter(wait_s, spends_attempt):
                if spends_attempt:
                    call.trace.attempts += 1
                cost = verdict_of(error).budget_cost
                return wait_s + tools.gate.withdraw(call.trace.endpoint, cost)

    def _goes_elsewhere(self, error: CallError) -> bool:
        """Is this endpoint at fault, and another one there that is well?"""
        call = self._call
        if not isinstance(error, PermanentError) or not may_go_elsewhere(
            error, repeatable=call.repeatable
        ):
            return False
        self._refused_by.add(call.trace.endpoint)
        return (
            call.trace.attempts < self._retry.max_attempts
            and self._tools.gate.placement.has_other(self._refused_by, call.model)
        )
