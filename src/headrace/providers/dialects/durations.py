"""Times as providers write them in headers: durations, dates, moments."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_GO = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_EPOCH_S = 1e9
"""Larger numbers are a moment since 1970 in seconds (GitHub), not a duration."""
_EPOCH_MS = 1e11
"""Larger numbers are such a moment in milliseconds (OpenRouter)."""


def number(text: str) -> float | None:
    """Return a decimal number that is not negative; None if `text` is none."""
    if text.isdecimal() and len(text) <= 20:
        return float(text)
    text = text.strip()
    if len(text) > 20 or not _NUMBER.fullmatch(text):
        return None
    return float(text)


def until_date(text: str, now: float) -> float | None:
    """Return the seconds from `now` (UTC) to an HTTP date, at least 0."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return _until(moment, now)


def reset_s(text: str, now: float) -> float | None:
    """Return the seconds until a reset, in any spelling providers use, at least 0.

    `6m0s`, `350ms`, `12`, `12.5`, RFC 3339, and seconds or milliseconds since 1970.
    """
    text = text.strip()
    value = number(text)
    if value is not None:
        if value > _EPOCH_MS:
            return max(0.0, value / 1000 - now)
        return max(0.0, value - now) if value > _EPOCH_S else value
    parts = _GO.findall(text) if len(text) <= 40 else []
    if parts and "".join(map("".join, parts)) == text:
        return float(sum(float(size) * _SECONDS[unit] for size, unit in parts))
    try:
        return _until(datetime.fromisoformat(text), now)
    except ValueError:
        return None


def _until(moment: datetime, now: float) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
