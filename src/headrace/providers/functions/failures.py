"""What becomes of an exception that a user's function raised."""

from __future__ import annotations

from headrace.errors import CallError, ErrorCode, TransientError

MAX_MESSAGE_CHARS = 500


def describe(error: BaseException) -> str:
    """Return `TypeName: text`, bounded."""
    text = str(error)
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:MAX_MESSAGE_CHARS]


def translate(error: BaseException) -> CallError:
    """Return the call error that stands for what a user's function raised.

    A `CallError` is the function's own word and stays as it is; anything else may
    help to be tried again.
    """
    if isinstance(error, CallError):
        return error
    return TransientError(describe(error), code=ErrorCode.FUNCTION_FAILED)
