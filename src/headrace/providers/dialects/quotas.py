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

_FIELDS = ("limit", "remaining", "reset")
_WORDS = {
    "requests": "calls",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_THREE = ""
"""Stands for the dimension that the three headers do not name: calls."""


def _places() -> dict[str, tuple[str, int]]:
    """Map each header's name to the dimension and the field that it tells."""
    places: dict[str, tuple[str, int]] = {}
    for index, field in enumerate(_FIELDS):
        for word, dimension in _WORDS.items():
            for name in (
                f"x-ratelimit-{field}-{word}",
                f"x-ratelimit-{field}-{word}-minute",  # Cerebras, Mistral
                f"anthropic-ratelimit-{word}-{field}",
            ):
                places[name] = (dimension, index)
        places[f"ratelimit-{field}"] = places[f"x-ratelimit-{field}"] = (_THREE, index)
    return places


_PLACES = _places()
_MINUTE_S = 60.0
_MEMBER = re.compile(r'[^,"]*(?:"[^"]*"[^,"]*)*')
_PARAMETER = re.compile(r"(\w+)\s*=\s*\"?([\d.]+)\"?")


def read_quotas(headers: Headers, now: float) -> tuple[Quota, ...]:
    """Return each limit spoken of, at most one per dimension; empty if none is.

    A `limit` is per minute; one whose period is stated and another, or is not to be
    known, is left out, while what remains of it and its reset are told.
    """
    told: dict[str, list[str | None]] = {}
    for name, value in headers.items():  # on every answer: one pass, few look-ups
        place = _PLACES.get(name.lower())
        if place is not None:
            told.setdefault(place[0], [None, None, None])[place[1]] = value
    structured = headers.get("ratelimit")
    if not told and structured is None:
        return ()
    found = {name: _quota(name, values, now) for name, values in told.items() if name}
    if structured is not None:
        for quota in _read_structured(structured, headers.get("ratelimit-policy", "")):
            found.setdefault(quota.dimension, quota)
    if _THREE in told:
        _, remaining, reset = told[_THREE]  # the period of the limit is not stated
        found.setdefault("calls", _quota("calls", [None, remaining, reset], now))
    return tuple(found.values())


def _quota(dimension: str, values: list[str | None], now: float) -> Quota:
    limit, remaining, reset = values
    return Quota(
        dimension,
        None if limit is None else number(limit),
        None if remaining is None else number(remaining),
        None if reset is None else reset_s(reset, now),
    )


def _read_structured(text: str, policy_text: str) -> list[Quota]:
    """Read both forms of the IETF draft's `RateLimit`.

    Source: draft-ietf-httpapi-ratelimit-headers, versions 3 to 10.
    """
    policies = dict(_members(policy_text))
    found = []
    for name, state in _members(text):
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
    return found or _read_former(text)


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
