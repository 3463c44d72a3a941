"""Which error an unsuccessful answer stands for.

Source: the table of docs/design.md, "Retry".
"""

from __future__ import annotations

from typing import TypedDict

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ErrorCode,
    Overloaded,
    Throttled,
    TimedOut,
    TransientError,
    Unauthorised,
    UnknownModel,
)
from headrace.model import Quota
from headrace.providers.addresses import host_of
from headrace.providers.dialects.dialect import Headers
from headrace.providers.dialects.faults import Fault, read_fault
from headrace.providers.dialects.quotas import MINUTE_S, read_quotas
from headrace.providers.dialects.waiting import exhausted, retry_after_s, should_retry

REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")

_SPENT_CODES = ("insufficient_quota", "quota_exceeded", "billing", "payment")
_SPENT_WORDS = (  # no "billing" here: some refusals for rate advertise a bigger plan
    "insufficient_quota",
    "insufficient credit",
    "insufficient balance",
    "insufficient funds",
    "credit balance is too low",
)
_CONCURRENCY = (
    "concurren",
    "parallel request",
    "simultaneous",
    "in-flight",
    "in flight",
)
_DIMENSIONS = (
    ("input_tokens", ("input tokens per", "input_tokens")),
    ("output_tokens", ("output tokens per", "output_tokens")),
    ("tokens", ("tokens per", "(tpm)", "(tpd)", "tokens_per", "token rate")),
    ("tokens", ("too many tokens", "token limit", "tokens / min", "token_limit")),
    ("calls", ("requests per", "(rpm)", "(rpd)", "requests_per", "request rate")),
    ("calls", ("call rate", "calls per", "calls / min", "requests rate")),
    ("calls", ("requests/min", "requests / min", "request_limit")),
)
_SLIVER = 0.02
"""A limit with less left than this share may well have refused a large call."""
_NO_MODEL = ("model_not_found", "modelnotfound", "deploymentnotfound", "unknown_model")


class _Facts(TypedDict, total=False):
    status: int
    retry_after_s: float | None
    body: bytes
    request_id: str | None
    should_retry: bool | None
    dimension: str | None
    limit_per_minute: float | None


def request_id_of(headers: Headers) -> str | None:
    """Return the provider's id of the call, where it gives one."""
    for name in REQUEST_ID_HEADERS:
        if (found := headers.get(name)) is not None:
            return found
    return None


def classify_llm(status: int, headers: Headers, body: bytes, now: float) -> CallError:
    """Classify an answer of an LLM API, where a path that is unknown is a model."""
    fault = read_fault(body)
    no_model = any(word in (fault.code, fault.kind) for word in _NO_MODEL)
    if status == 404 or (status == 400 and no_model):
        message = _message(
            status, fault, "check the model's name, the path and --base-url"
        )
        return UnknownModel(message, **_facts(status, headers, body, now))
    return _classify(status, headers, body, now, fault)


def classify_http(status: int, headers: Headers, body: bytes, now: float) -> CallError:
    """Classify an answer of any other API."""
    return _classify(status, headers, body, now, read_fault(body))


def _classify(
    status: int, headers: Headers, body: bytes, now: float, fault: Fault
) -> CallError:
    facts = _facts(status, headers, body, now)
    if status < 400:
        return _moved(status, headers, facts)
    if status == 429:
        return _throttled(headers, fault, now, facts)
    if status == 402 or (status in (400, 403) and _is_spent(fault)):
        return _spent(status, fault, facts)
    if status in (401, 403):
        message = _message(status, fault, "check the key and what it may do")
        return Unauthorised(message, **facts)
    if status == 409:  # only the provider knows whether a conflict will pass
        facts["should_retry"] = facts["should_retry"] is True
        return TransientError(_message(status, fault), code=ErrorCode.CONFLICT, **facts)
    return _by_status(status)(_message(status, fault), **facts)


def _by_status(status: int) -> type[CallError]:
    if status in (408, 425, 499):
        return TimedOut
    if status in (503, 529):
        return Overloaded
    if status == 501 or status < 500:
        return BadCall
    return TransientError


def _throttled(headers: Headers, fault: Fault, now: float, facts: _Facts) -> CallError:
    if _is_spent(fault):
        return _spent(429, fault, facts)
    message = _message(429, fault)
    quotas = read_quotas(headers, now)
    said = _dimension(fault)
    if _has(fault, _CONCURRENCY) or (said is None and _has_room(quotas)):
        return Throttled(message, code=ErrorCode.TOO_MANY_CONCURRENT, **facts)
    empty = exhausted(quotas)
    facts["dimension"] = said or (empty.dimension if empty else None)
    met = _quota_of(facts["dimension"], quotas)
    if met is not None:
        facts["limit_per_minute"] = met.limit if met.window_s == MINUTE_S else None
        if facts["retry_after_s"] is None:
            facts["retry_after_s"] = met.reset_s
    return Throttled(message, **facts)


def _dimension(fault: Fault) -> str | None:
    # OpenAI's `error.type` of a rate refusal is the bare name of the dimension.
    named = {"tokens": "tokens", "requests": "calls"}.get(fault.kind)
    if named is not None:
        return named
    words = fault.words
    for dimension, hints in _DIMENSIONS:
        if any(hint in words for hint in hints):
            return dimension
    return None


def _has_room(quotas: tuple[Quota, ...]) -> bool:
    """Is there something left of both calls and tokens, so that neither refused us?"""
    calls = [_left(quota) for quota in quotas if quota.dimension == "calls"]
    tokens = [_left(quota) for quota in quotas if "tokens" in quota.dimension]
    return min(calls, default=0.0) > 0 and min(tokens, default=0.0) > 0


def _left(quota: Quota) -> float:
    """Return what is left, if it is enough for a call of ordinary size."""
    left = quota.remaining or 0.0
    return left if left > _SLIVER * (quota.limit or 0.0) else 0.0


def _quota_of(dimension: str | None, quotas: tuple[Quota, ...]) -> Quota | None:
    """Return the limit that was met: of several periods the one with least left."""
    found = [quota for quota in quotas if quota.dimension == dimension]
    return min(found, key=lambda quota: quota.remaining or 0.0, default=None)


def _spent(status: int, fault: Fault, facts: _Facts) -> CallError:
    message = _message(status, fault, "check the account's plan and billing")
    return Unauthorised(message, code=ErrorCode.QUOTA_SPENT, **facts)


def _moved(status: int, headers: Headers, facts: _Facts) -> CallError:
    where = headers.get("location")
    target = f" to {host_of(where)}" if where else ""
    return BadReply(
        f"HTTP {status}: the endpoint redirects{target}; redirects are not followed: "
        "set --base-url to the final address",
        **facts,
    )


def _facts(status: int, headers: Headers, body: bytes, now: float) -> _Facts:
    return _Facts(
        status=status,
        retry_after_s=retry_after_s(headers, now),
        body=body,
        request_id=request_id_of(headers),
        should_retry=should_retry(headers),
    )


def _is_spent(fault: Fault) -> bool:
    names = f"{fault.kind} {fault.code}"
    return any(code in names for code in _SPENT_CODES) or _has(fault, _SPENT_WORDS)


def _has(fault: Fault, hints: tuple[str, ...]) -> bool:
    words = fault.words
    return any(hint in words for hint in hints)


def _message(status: int, fault: Fault, advice: str = "") -> str:
    text = f"HTTP {status}: {fault.message}" if fault.message else f"HTTP {status}"
    return f"{text} ({advice})" if advice else text
