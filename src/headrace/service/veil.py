"""What a tenant may see of failures: what went wrong, and never where the provider is.

Names and addresses of endpoints are for keys of scope `admin`, for a service without
keys, and for the log. What a provider itself says passes to the tenant, for it is about
the tenant's call; only its own address is taken out. What a proxy before it says does
not pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from headrace.errors import CallError, ErrorCode
from headrace.jobs import AttemptRecord
from headrace.model import Endpoint, Failure, Outcome

_PROVIDER = "the provider"
_WORDS: Mapping[str, str] = {
    ErrorCode.CONNECT_FAILED: "no connection to the provider",
    ErrorCode.CONNECTION_LOST: "the connection to the provider broke",
    ErrorCode.TIMED_OUT: "the provider did not answer in time",
    ErrorCode.BAD_REPLY: "the provider did not answer in valid HTTP",
}
"""In the place of our own words on failures to which no provider gave a status."""


class _Envelope(msgspec.Struct):
    error: dict[str, msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def is_envelope(body: bytes | None) -> bool:
    """Is this an error of a provider as OpenAI's clients read it?"""
    try:
        _decode_envelope(body or b"")
    except (ValueError, RecursionError):
        return False
    return True


class Veil:
    """Takes out of failures what a tenant may not see.

    Args:
        endpoints: whose addresses are taken out; None = nothing is, for who asks may
            see all.
    """

    def __init__(self, endpoints: Sequence[Endpoint] | None) -> None:
        self.is_on = endpoints is not None
        self._addresses = _pattern(tuple(each.base_url for each in endpoints or ()))

    def failure(self, failure: Failure) -> Failure:
        """Return a failure as it may be seen."""
        if not self.is_on:
            return failure
        body = failure.body if _is_providers(failure.status, failure.body) else None
        if body is not None:
            in_bytes = re.compile(self._addresses.pattern.encode())
            body = in_bytes.sub(_PROVIDER.encode(), body)
        message = self._message(
            failure.code, failure.message, failure.status, failure.body
        )
        return replace(failure, message=message, body=body)

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome as it may be seen."""
        if not self.is_on:
            return outcome
        failure, trace = outcome.failure, outcome.trace
        return replace(
            outcome,
            failure=None if failure is None else self.failure(failure),
            trace=replace(trace, endpoint=""),
        )

    def attempt(self, record: AttemptRecord) -> AttemptRecord:
        """Return a failed try as it may be seen."""
        if not self.is_on:
            return record
        message = self._message(record.code, record.message, record.status, None)
        return replace(record, message=message, endpoint="")

    def error(self, error: CallError) -> CallError:
        """Change the error of a call to what may be seen, and return it."""
        failure = self.failure(
            Failure(error.code, error.message, error.status, error.body)
        )
        error.message, error.body = failure.message, failure.body
        return error

    def _message(
        self, code: str, message: str, status: int | None, body: bytes | None
    ) -> str:
        if code in _WORDS and (status is None or status // 100 in (1, 3)):
            return _WORDS[code]
        if not _is_providers(status, body):
            return f"HTTP {status}: the provider failed"
        return self._addresses.sub(_PROVIDER, message)


def _is_providers(status: int | None, body: bytes | None) -> bool:
    """Is it the provider itself that speaks, and no proxy before it?"""
    return status is None or status < 500 or is_envelope(body)


@lru_cache(maxsize=16)
def _pattern(base_urls: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds these addresses, whole or only their hosts."""
    found: set[str] = set()
    for url in base_urls:
        parts = urlsplit(url)
        found |= {url, parts.netloc, parts.hostname or ""}
    words = sorted((re.escape(word) for word in found if word), key=len, reverse=True)
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(words) or '(?!)'})(?![\w-])")


NO_VEIL = Veil(None)
"""Of who may see all."""
