"""Makes one call at once, past the store: same gate, same layers as a served route."""

from __future__ import annotations

import asyncio

import msgspec

from headrace.clock import Clock
from headrace.engine.deadlines import Deadlines
from headrace.engine.outcomes import CANCELLED, ended, failed, succeeded
from headrace.engine.shutdown import Drained
from headrace.errors import CallError, ErrorCode, Rejected, TimedOut
from headrace.model import Call, Failure, Handler, ItemState, Outcome, Reply


class Sleeper:
    """Where a direct call backs off: its caller waits, nobody takes its place."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def rest(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class DirectTools(msgspec.Struct, frozen=True):
    """What direct calls are made with."""

    handler: Handler
    """Watches no upstream: a failure is told to its caller, not waited out."""
    deadlines: Deadlines


async def answer(
    tools: DirectTools, call: Call, name: str, deadline_s: float | None
) -> Outcome:
    """Make one call; whatever becomes of it is an outcome.

    Args:
        tools: see there.
        call: its `deadline` is `deadline_s` from now, if there is one.
        name: the user's name for it.
        deadline_s: seconds after which it is cancelled, waits and tries included.
    """
    if deadline_s is None:
        return await _answer(tools.handler, call, name)
    assert call.deadline is not None
    limit = tools.deadlines.start(call.deadline)
    try:
        return await _answer(tools.handler, call, name)
    except asyncio.CancelledError:
        if not limit.absorbs_cancel():
            raise
        late = Failure(ErrorCode.EXPIRED, f"not answered within its {deadline_s:g} s")
        return ended(call, name, ItemState.EXPIRED, late)
    finally:
        tools.deadlines.stop(limit)


async def _answer(handler: Handler, call: Call, name: str) -> Outcome:
    try:
        reply = await handler(call)
        if reply.chunks is not None:
            reply.body = b"".join([chunk async for chunk in reply.chunks])
    except (CallError, Rejected) as error:
        return failed(call, name, error)
    except Drained:
        return ended(call, name, ItemState.CANCELLED, CANCELLED)
    return succeeded(call, name, reply)


async def reply(tools: DirectTools, call: Call, deadline_s: float | None) -> Reply:
    """Make one call and return its reply as it comes; errors pass.

    Args:
        tools: see there.
        call: its `deadline` is `deadline_s` from now, if there is one.
        deadline_s: seconds after which it is cancelled, waits and tries included;
            nothing ends a stream that has begun.

    Raises:
        CallError: it failed for good; `batch_expired` if its time is over.
        Rejected: it was never sent.
    """
    if deadline_s is None:
        return await tools.handler(call)
    assert call.deadline is not None
    limit = tools.deadlines.start(call.deadline)
    try:
        return await tools.handler(call)
    except asyncio.CancelledError:
        if not limit.absorbs_cancel():
            raise
        late = f"not answered within its {deadline_s:g} s"
        raise TimedOut(late, code=ErrorCode.EXPIRED) from None
    finally:
        tools.deadlines.stop(limit)
