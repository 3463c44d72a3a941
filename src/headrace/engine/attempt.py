"""Makes one attempt: waits at the gate, calls the provider under a time limit."""

from __future__ import annotations

import asyncio

from headrace.engine.deadlines import Deadlines, timed_out
from headrace.engine.gate import Gate
from headrace.engine.streaming import OwnedChunks
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
        timeout_s: time limit of the try, waiting at the gate not included; of a
            streamed reply, also of each chunk.
    """

    async def attempt(call: Call) -> Reply:
        # `async with gate.admit(call) as ticket` written out saves two coroutines.
        ticket = gate.enter(call)
        try:
            if ticket.turn is not None:
                await ticket.turn
            site = ticket.site
            assert site is not None
            call.trace.tries += 1
            limit = deadlines.start(ticket.started_at + timeout_s)
            try:
                reply = await provider.send(call, site.endpoint)
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
            reply.chunks = OwnedChunks(ticket, reply, deadlines, timeout_s)
            return reply
        ticket.succeeded(reply.usage, reply.quotas)
        return reply

    return attempt
