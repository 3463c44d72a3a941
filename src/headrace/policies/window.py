"""The spans of the UTC calendar in which budgets are counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.terms import BudgetWindow


def span_of(window: BudgetWindow, at: float) -> str:
    """Return the name of the span that `at` lies in; other spans have other names.

    Args:
        window: how long a span is.
        at: UTC seconds.
    """
    day = datetime.fromtimestamp(at, UTC)
    if window == "day":
        return f"{day:%Y-%m-%d}"
    if window == "week":
        return f"{day:%G-W%V}"
    if window == "month":
        return f"{day:%Y-%m}"
    return "total"


def next_span_at(window: BudgetWindow, at: float) -> float | None:
    """Return when the next span begins, in UTC seconds; None = never."""
    now = datetime.fromtimestamp(at, UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return (day + timedelta(days=1)).timestamp()
    if window == "week":
        return (day + timedelta(days=7 - day.weekday())).timestamp()
    if window == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
    return None
