"""What headers say of a provider's limits, in all the spellings that are met.

```
x-ratelimit-{limit,remaining,reset}-{requests,tokens}            OpenAI, Azure, Groq
anthropic-ratelimit-{requests,…}-{limit,remaining,reset}         Anthropic
RateLimit: "name";r=5;t=30    RateLimit-Policy: "name";q=10;w=60  IETF draft, now
x-ratelimit-{…}-{requests,tokens,req}-{second,minute,hour,day}   Cerebras, Mistral
x-ratelimit-{…}-{second,minute,hour,day}                          Kong
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
    "req": "calls",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_PERIODS_S = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3_600.0,
    "day": 86_400.0,
    "month": 2_592_000.0,
}
MINUTE_S = 60.0
_UNKNOWN_S = 0.0
"""Stands for the period that the three headers do not name."""

Place = tuple[str, float, int]


def _places() -> dict[str, Place]:
    """Map each header's name to the dimension, the period and the field it tells."""
    places: dict[str, Place] = {}
    for index, field in enumerate(_FIELDS):
        for word, dimension in _WORDS.items():
            minute = (dimension, MINUTE_S, index)
            places[f"x-ratelimit-{field}-{word}"] = minute
            places[f"anthropic-ratelimit-{word}-{field}"] = minute
            for period, window_s in _PERIODS_S.items():
                name = f"x-ratelimit-{field}-{word}-{period}"
                places[name] = (dimension, window_s, index)
        for period, window_s in _PERIODS_S.items():
            places[f"x-ratelimit-{field}-{period}"] = ("calls", window_s, index)
        for name in (f"ratelimit-{field}", f"x-ratelimit-{field}"):
            places[name] = ("calls", _UNKNOWN_S, index)
    return places


_PLACES = _places()
_MEMBER = re.compile(r'[^,"]*(?:"[^"]*"[^,"]*)*')
_PARAMETER = re.compile(r"(\w+)\s*=\s*\"?([\d.]+)\"?")


def read_quotas(headers: Headers, now: float) -> tuple[Quota, ...]:
    """Return each limit spoken of, at most one per dimension and period.

    A `limit` whose period is not to be known is left out, while what remains of it and
    its reset are told.
    """
    told: dict[tuple[str, float], list[str | None]] = {}
    for name, value in headers.items():  # on every answer: one pass, few look-ups
        place = _PLACES.get(name.lower())
        if place is not None:
            values = told.setdefault(place[:2], [None, None, None])
            values[place[2]] = value
    structured = headers.get("ratelimit")
    if not told and structured is None:
        return ()
    three = told.pop(("calls", _UNKNOWN_S), None)
    found = {key: _quota(key, values, now) for key, values in told.items()}
    if structured is not None:
        for quota in _read_structured(structured, headers.get("ratelimit-policy", "")):
            found.setdefault((quota.dimension, quota.window_s), quota)
    if three is not None and not any(name == "calls" for name, _ in found):
        three[0] = None
        found["calls", MINUTE_S] = _quota(("calls", MINUTE_S), three, now)
    return tuple(found.values())


def _quota(key: tuple[str, float], values: list[str | None], now: float) -> Quota:
    limit, remaining, reset = values
    return Quota(
        key[0],
        None if limit is None else number(limit),
        None if remaining is None else number(remaining),
        None if reset is None else reset_s(reset, now),
        key[1],
    )


def _read_structured(text: str, policy_text: str) -> list[Quota]:
    """Read both forms of the IETF draft's `RateLimit`.

    Source: draft-ietf-httpapi-ratelimit-headers, versions 3 to 10.
    """
    policies = dict(_members(policy_text))
    found = []
    for name, state in _members(text):
        policy = policies.get(name, {})
        window_s = policy.get("w") or 0.0
        found.append(
            Quota(
                "tokens" if "token" in name else "calls",
                policy.get("q") if window_s else None,
                state.get("r"),
                state.get("t"),
                window_s or MINUTE_S,
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
