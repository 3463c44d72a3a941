"""How long an answer asks us to wait, and whether it lets us come back at all."""

from __future__ import annotations

from headrace.model import Quota
from headrace.providers.dialects.dialect import Headers
from headrace.providers.dialects.durations import number, until_date


def should_retry(headers: Headers) -> bool | None:
    """Return the provider's explicit word; None if it says nothing."""
    word = headers.get("x-should-retry", "").strip().lower()
    return {"true": True, "false": False}.get(word)


def retry_after_s(headers: Headers, now: float) -> float | None:
    """Return the seconds asked for, at least 0; None if nothing is.

    `retry-after-ms` goes before `Retry-After`, which is in seconds or a date.
    """
    ms = number(headers.get("retry-after-ms", ""))
    if ms is not None:
        return ms / 1000
    text = headers.get("retry-after", "").strip()
    if text.startswith("-"):
        return 0.0 if number(text[1:]) is not None else None
    value = number(text)
    return until_date(text, now) if value is None else value


def exhausted(quotas: tuple[Quota, ...]) -> Quota | None:
    """Return the limit of which nothing is left: the one that takes longest."""
    empty = [quota for quota in quotas if quota.remaining == 0]
    return max(empty, key=lambda quota: quota.reset_s or 0.0, default=None)
