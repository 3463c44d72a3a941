"""What headers say of a provider's limits, in all the spellings that are met.

```
x-ratelimit-{limit,remaining,reset}-{requests,tokens}            OpenAI, Azure, Groq
anthropic-ratelimit-{requests,…}-{limit,remaining,reset}         Anthropic
RateLimit: "name";r=5;t=30    RateLimit-Policy: "name";q=10;w=60  IETF draft, now
RateLimit: limit=10, remaining=5, reset=30                       IETF draft, before
[X-]RateLimit-{Limit,Remaining,Reset}                            three headers
```
"""

from __future__ import annotations

import re

from headrace.model import Quota
from headrace.providers.dialects.dialect import Headers
from headrace.providers.dialects.durations import number, reset_s

_X = (
    ("calls", "-requests"),
    ("tokens", "-tokens"),
    ("tokens", "-tokens-minute"),  # Cerebras, Mistral
    ("calls", "-requests-minute"),
    ("input_tokens", "-input-tokens"),
    ("output_tokens", "-output-tokens"),
)
_ANTHROPIC = (
    ("calls", "requests"),
    ("tokens", "tokens"),
    ("input_tokens", "input-tokens"),
    ("output_tokens", "output-tokens"),
)
_MINUTE_S = 60.0
_MEMBER = re.compile(r'[^,"]*(?:"[^"]*"[^,"]*)*')
_PARAMETER = re.compile(r"(\w+)\s*=\s*\"?([\d.]+)\"?")


def read_quotas(headers: Headers, now: float) -> tuple[Quota, ...]:
    """Return each limit spoken of, at most one per dimension; empty if none is.

    A `limit` is per minute; one whose period is stated and another, or is not to be
    known, is left out, while what remains of it and its reset are told.
    """
    if not any("ratelimit" in name.lower() for name in headers):
        return ()
    found: dict[str, Quota] = {}
    for quota in (
        *_read_x(headers, now),
        *_read_anthropic(headers, now),
        *_read_structured(headers),
        *_read_three(headers, now),
    ):
        found.setdefault(quota.dimension, quota)
    return tuple(found.values())


def _read_x(headers: Headers, now: float) -> list[Quota]:
    return [
        quota
        for dimension, tail in _X
        if (
            quota := _quota(
                dimension,
                headers.get(f"x-ratelimit-limit{tail}"),
                headers.get(f"x-ratelimit-remaining{tail}"),
                headers.get(f"x-ratelimit-reset{tail}"),
                now,
            )
        )
    ]


def _read_anthropic(headers: Headers, now: float) -> list[Quota]:
    return [
        quota
        for dimension, word in _ANTHROPIC
        if (
            quota := _quota(
                dimension,
                headers.get(f"anthropic-ratelimit-{word}-limit"),
                headers.get(f"anthropic-ratelimit-{word}-remaining"),
                headers.get(f"anthropic-ratelimit-{word}-reset"),
                now,
            )
        )
    ]


def _read_three(headers: Headers, now: float) -> list[Quota]:
    for prefix in ("ratelimit", "x-ratelimit"):
        quota = _quota(
            "calls",
            None,  # its period is not stated
            headers.get(f"{prefix}-remaining"),
            headers.get(f"{prefix}-reset"),
            now,
        )
        if quota is not None:
            return [quota]
    return []


def _quota(
    dimension: str,
    limit: str | None,
    remaining: str | None,
    reset: str | None,
    now: float,
) -> Quota | None:
    most = None if limit is None else number(limit)
    left = None if remaining is None else number(remaining)
    again_s = None if reset is None else reset_s(reset, now)
    if most is None and left is None and again_s is None:
        return None
    return Quota(dimension, most, left, again_s)


def _read_structured(headers: Headers) -> list[Quota]:
    """Read both forms of the IETF draft's `RateLimit`.

    Source: draft-ietf-httpapi-ratelimit-headers, versions 3 to 10.
    """
    policies = dict(_members(headers.get("ratelimit-policy", "")))
    found = []
    for name, state in _members(headers.get("ratelimit", "")):
        policy = policies.get(name, {})
        per_minute = policy.get("w") == _MINUTE_S
        found.append(
            Quota(
                "tokens" if "token" in name else "calls",
                policy.get("q") if per_minute else None,
                state.get("r"),
                state.get("t"),
            )
        )
    return found or _read_former(headers.get("ratelimit", ""))


def _read_former(text: str) -> list[Quota]:
    values = _parameters(text)
    if "remaining" not in values and "reset" not in values:
        return []
    return [Quota("calls", None, values.get("remaining"), values.get("reset"))]


def _members(text: str) -> list[tuple[str, dict[str, float]]]:
    """Split a structured list of named items into names and numbers."""
    found = []
    for member in _MEMBER.findall(text[:2_000]):
        name, mark, parameters = member.strip().partition(";")
        if mark:
            found.append((name.strip('"').lower(), _parameters(parameters)))
    return found


def _parameters(text: str) -> dict[str, float]:
    pairs = ((key, number(value)) for key, value in _PARAMETER.findall(text[:2_000]))
    return {key.lower(): value for key, value in pairs if value is not None}
