"""Makes calls of leased items, and bytes of their answers."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.clock import Clock
from headrace.errors import BadReply
from headrace.jobs import Flow, Leased
from headrace.model import Call, Cost, Trace
from headrace.providers.dialects import Dialect
from headrace.wire import decode_request


def http_call(dialect: Dialect, lease: Leased, flow: Flow, clock: Clock) -> Call:
    """Return the HTTP call of an item, with what its dialect knows of it.

    Raises:
        ValueError: the payload is no request that the dialect can make.
    """
    request = decode_request(lease.payload)
    wrong = dialect.check(request)
    if wrong is not None:
        raise ValueError(wrong)
    model, cost = dialect.describe(request)
    call = leased_call(lease, flow, request, model, cost, clock)
    if dialect.repeatable(request):
        return call
    return msgspec.structs.replace(call, repeatable=False)


def leased_call(  # a call has that many sides
    lease: Leased, flow: Flow, payload: object, model: str, cost: Cost, clock: Clock
) -> Call:
    """Return the call of an item: whose it is, how urgent, and until when."""
    deadline = None
    if flow.max_deadline_s is not None:
        deadline = clock.monotonic() + flow.max_deadline_s
    return Call(
        id=f"{flow.job_id}-{lease.seq}",
        index=lease.seq,
        payload=payload,
        trace=Trace(),
        model=model,
        flow=f"{flow.tenant}/{flow.job_id}",
        priority=flow.priority,
        cost=cost,
        deadline=deadline,
        job=lease.job,
        tenant=flow.tenant,
        key=flow.key,
    )


def as_bytes(value: Any) -> bytes:
    """Return the body of an answer as the store keeps it."""
    return value if isinstance(value, bytes) else b""


def as_json(value: Any) -> bytes:
    """Return a function's result as the store keeps it.

    Raises:
        BadReply: it is not JSON.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise BadReply(f"the function's result is not JSON: {error}") from error
