"""Makes one attempt: waits at the gate, calls the provider under a time limit."""

from __future__ import annotations

import asyncio

from headrace.engine.deadlines import Deadlines
from headrace.engine.gate import Gate
from headrace.errors import TimedOut
from headrace.model import Call, Handler, Reply
from headrace.ports import Provider


def attempting(
    gate: Gate, provider: Provider, deadlines: Deadlines, timeout_s: float
) -> Handler:
    """Return the innermost handler: one try of one call.

    Args:
        gate: gives the endpoint and all permits.
        provider: makes the call.
        deadlines: keeps the time limits.
        timeout_s: time limit of the try, waiting at the gate not included.
    """

    async def attempt(call: Call) -> Reply:
        # `async with gate.admit(call) as ticket` written out saves two coroutines.
        ticket = gate.admit(call)
        turn = gate.enter(ticket)
        try:
            if turn is not None:
                await turn
            call.trace.tries += 1
            limit = deadlines.start(ticket.started_at + timeout_s)
            try:
                reply = await provider.send(call, ticket.endpoint)
            except asyncio.CancelledError:
                if limit.absorbs_cancel():
                    raise timed_out(timeout_s) from None
                raise
            finally:
                deadlines.stop(limit)
        except BaseException as error:
            ticket.failed(error)
            raise
        if reply.chunks is not None:
            return ticket.own_stream(reply)
        ticket.succeeded(reply.usage, reply.quotas)
        return reply

    return attempt


def timed_out(timeout_s: float) -> TimedOut:
    """Return the error of an attempt whose time is up."""
    return TimedOut(
        f"no answer within {timeout_s:g} s; a longer --timeout may help",
    )
