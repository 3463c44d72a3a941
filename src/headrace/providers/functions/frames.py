"""The frames between a process provider and its child: four bytes length, then JSON."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ErrorCode,
    Interrupted,
    Overloaded,
    PermanentError,
    Throttled,
    TimedOut,
    TransientError,
    Unauthorised,
    UnknownModel,
    Unreachable,
)

HEAD = struct.Struct("!I")
MAX_FRAME_BYTES = 64 * 2**20
ENCODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for a value that has no JSON form."""

_PASSING: dict[str, type[CallError]] = {
    kind.__name__: kind
    for kind in (
        BadCall,
        BadReply,
        CallError,
        Interrupted,
        Overloaded,
        PermanentError,
        Throttled,
        TimedOut,
        TransientError,
        Unauthorised,
        UnknownModel,
        Unreachable,
    )
}


class Hello(msgspec.Struct, frozen=True):
    """The first frame to a child: what it shall run."""

    function: str
    """`module:function`."""
    path: list[str]
    """Where modules are looked for, as in the parent."""


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call error on its way to the parent."""

    kind: str
    code: str
    message: str
    status: int | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    dimension: str | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a child sends back for each frame it got, the first included."""

    value: Any = None
    fault: Fault | None = None


def pack(message: object) -> bytes:
    """Return the frame of a message.

    Values travel as JSON: a tuple arrives as a list, NaN as null, bytes as base64 text.

    Raises:
        ENCODING_ERRORS: the message has no JSON form, or is too long.
    """
    body = msgspec.json.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"{len(body)} bytes are more than {MAX_FRAME_BYTES}")
    return HEAD.pack(len(body)) + body


def fault_of(error: CallError) -> Fault:
    """Return the form in which an error can travel; unknown kinds go as their base."""
    kind = next(k for k in type(error).__mro__ if _PASSING.get(k.__name__) is k)
    return Fault(
        kind.__name__,
        str(error.code),
        error.message,
        error.status,
        error.retry_after_s,
        error.should_retry,
        error.dimension,
    )


def error_of(fault: Fault) -> CallError:
    """Return the error that `fault_of` packed."""
    return _PASSING[fault.kind](
        fault.message,
        code=ErrorCode(fault.code),
        status=fault.status,
        retry_after_s=fault.retry_after_s,
        should_retry=fault.should_retry,
        dimension=fault.dimension,
    )
