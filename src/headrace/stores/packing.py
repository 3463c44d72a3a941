"""How outcomes and bodies become columns, and come back as they were."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import zstandard
from msgspec.structs import astuple

from headrace.errors import ErrorCode
from headrace.jobs import Finished
from headrace.model import Failure, Outcome, Trace, Usage
from headrace.stores.itemstates import STATES, unrun
from headrace.stores.spending import nano_of, usd_of

PACK_FROM_BYTES: Final = 1024
"""Smaller bodies are not worth the time (docs/design.md, Store)."""


class _Detail(msgspec.Struct, array_like=True, frozen=True):
    """What of an outcome nobody selects by."""

    trace: list[int | float | str | bool]
    usage: tuple[int, int] | None = None
    request_id: str | None = None
    failure_status: int | None = None
    failure_request_id: str | None = None


_ENDPOINT: Final = Trace.__struct_fields__.index("endpoint")
_MODEL: Final = Trace.__struct_fields__.index("model")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Detail).decode


class Packer:
    """Makes bodies smaller; belongs to one thread."""

    def __init__(self) -> None:
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._decompress = zstandard.ZstdDecompressor().decompress

    def pack(self, body: bytes) -> tuple[int, bytes]:
        """Return whether the body was packed (1 or 0), and what to store."""
        if len(body) < PACK_FROM_BYTES:
            return 0, body
        packed = self._compress(body)
        return (1, packed) if len(packed) < len(body) else (0, body)

    def unpack(self, packed: int, stored: bytes) -> bytes:
        """Return the body as it was."""
        return self._decompress(stored) if packed else stored


def text(value: str) -> str:
    """Return text that every database can store: no NUL, no half characters.

    Messages come from strangers; one bad character must not stop the recording.
    """
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def result_values(done: Finished, pack: Packer) -> tuple[Any, ...]:
    """Return status, code, message, packed, body, detail and cost of an outcome.

    The body is the answer; of a failed item, the provider's error body.
    """
    outcome = done.outcome
    failure = outcome.failure
    body = done.body
    code = message = None
    if failure is not None:
        code, message, body = str(failure.code), text(failure.message), failure.body
    packed, stored = (0, None) if body is None else pack.pack(body)
    cost = None if outcome.cost_usd is None else nano_of(outcome.cost_usd)
    return outcome.status, code, message, packed, stored, _detail(outcome), cost


def _detail(outcome: Outcome) -> bytes:
    usage, failure = outcome.usage, outcome.failure
    trace = list(astuple(outcome.trace))
    trace[_ENDPOINT] = text(outcome.trace.endpoint)
    trace[_MODEL] = text(outcome.trace.model)
    return _encode(
        _Detail(
            trace,
            None if usage is None else (usage.input_tokens, usage.output_tokens),
            None if outcome.request_id is None else text(outcome.request_id),
            None if failure is None else failure.status,
            None
            if failure is None or failure.request_id is None
            else text(failure.request_id),
        )
    )


def outcome_of(row: Any, pack: Packer) -> Outcome:
    """Return the outcome that a row of `statements_outcomes.page` holds."""
    (number, seq, custom_id, state_code, attempts, queued_at, ended_at) = row[:7]
    status, code, message, packed, stored, detail, cost_nano = row[7:]
    state = STATES[state_code]
    if detail is None:
        queued_s = max(0.0, ended_at - queued_at)
        return unrun(custom_id, seq, state, number, Trace(attempts, queued_s=queued_s))
    found = _decode(detail)
    body = None if stored is None else pack.unpack(packed, stored)
    failure = None
    if code is not None:
        failure = Failure(
            ErrorCode(code),
            message,
            found.failure_status,
            body,
            found.failure_request_id,
        )
    return Outcome(
        id=custom_id,
        index=seq,
        state=state,
        value=body if failure is None else None,
        failure=failure,
        usage=None if found.usage is None else Usage(*found.usage),
        status=status,
        request_id=found.request_id,
        trace=Trace(*found.trace),  # type: ignore[arg-type]
        number=number,
        cost_usd=None if cost_nano is None else usd_of(cost_nano),
    )
