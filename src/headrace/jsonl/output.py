"""How an item ended, as one line of a file in OpenAI's batch output format.

Bodies stand in the line as they came. Only a body that holds line feeds is respaced,
and one that is no JSON becomes a string: as text, or as a `data:` address if it is no
UTF-8 either.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import blake2b

import msgspec

from headrace.errors import ErrorCode
from headrace.jsonl.badline import BadLine
from headrace.model import Failure, ItemState, Outcome

_encode = msgspec.json.Encoder().encode
_skim = msgspec.json.Decoder(msgspec.Raw).decode

_ENDS = {
    ItemState.CANCELLED: Failure(
        ErrorCode.CANCELLED, "The batch was cancelled before this request ran."
    ),
    ItemState.EXPIRED: Failure(
        ErrorCode.EXPIRED, "The batch's time ran out before this request could run."
    ),
    ItemState.SKIPPED: Failure(ErrorCode.SKIPPED, "This request was left out."),
    ItemState.FAILED: Failure(ErrorCode.BAD_REPLY, "This request failed."),
}
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: None
    code: str


class _Envelope(msgspec.Struct, frozen=True):
    error: _Error


class _Reason(msgspec.Struct, frozen=True):
    code: str
    message: str


def line_of(job_id: str, outcome: Outcome) -> bytes:
    """Return the line of an outcome, with its line feed; the same for the same outcome.

    It has a field `model` more than OpenAI's if another model was asked than the line
    names.

    Args:
        job_id: `Job.id`; with the item's position it makes the line's id.
        outcome: how an item ended.
    """
    response, error = b"null", b"null"
    if outcome.ok:
        body = _one_line(outcome.value)
        response = _response(outcome.status or 200, outcome.request_id, body)
    else:
        failure = outcome.failure or _ENDS[outcome.state]
        if failure.status is not None and failure.status >= 400:
            response = _response(
                failure.status, failure.request_id, _error_body(failure)
            )
        else:
            error = _encode(_Reason(failure.code, failure.message))
    line = _line(f"{job_id}/{outcome.index}", outcome.id, response, error)
    if outcome.trace.model:
        return line[:-2] + b',"model":%b}\n' % _encode(outcome.trace.model)
    return line


def line_of_bad(job_id: str, bad: BadLine) -> bytes:
    """Return the line that tells of an input line which was left out."""
    message = f"line {bad.line}: {bad.message}"
    error = _encode(_Reason("invalid_line", message))
    return _line(f"{job_id}/line {bad.line}", bad.custom_id, b"null", error)


def _line(key: str, custom_id: str | None, response: bytes, error: bytes) -> bytes:
    digest = blake2b(key.encode(), digest_size=12).hexdigest().encode()
    return b'{"id":"batch_req_%b","custom_id":%b,"response":%b,"error":%b}\n' % (
        digest,
        _encode(custom_id),
        response,
        error,
    )


def _response(status: int, request_id: str | None, body: bytes) -> bytes:
    return b'{"status_code":%d,"request_id":%b,"body":%b}' % (
        status,
        _encode(request_id),
        body,
    )


def _error_body(failure: Failure) -> bytes:
    if failure.body and _is_json(failure.body):
        return _one_line(failure.body)
    status = failure.status or 500
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind = _TYPES.get(status, kind)
    return _encode(_Envelope(_Error(failure.message, kind, None, failure.code)))


def _one_line(value: object) -> bytes:
    """Return JSON without line feeds for an answer's bytes, or for a function's result."""
    if not isinstance(value, bytes):
        return _encode(value)
    if not value:
        return b"null"
    if not _is_json(value):
        return _encode(_as_text(value))
    if b"\n" not in value and b"\r" not in value:
        return value
    return _respaced(value)


def _respaced(body: bytes) -> bytes:
    try:
        return msgspec.json.format(body, indent=-1)
    except msgspec.DecodeError:  # half surrogate pairs, which are JSON all the same
        return b" ".join(body.split(b"\n")).replace(b"\r", b" ")


def _is_json(body: bytes) -> bool:
    try:
        body.isascii() or body.decode()
        _skim(body)
    except UnicodeDecodeError:
        return False
    except (msgspec.DecodeError, RecursionError):
        return _is_odd_json(body)
    return True


def _is_odd_json(body: bytes) -> bool:
    """Say whether readers of JSON take what our own decoder does not."""
    try:
        json.loads(
            body.decode(), parse_constant=_refuse, parse_int=len, parse_float=len
        )
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _as_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"data:application/octet-stream;base64,{b64encode(body).decode()}"
