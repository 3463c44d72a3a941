"""Numbers, durations and errors in the words of people."""

from __future__ import annotations

import re
from decimal import Decimal

from headrace.policies.budget import dollars

_SECRET = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")


def count(number: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,.0f}"


def rate(per_s: float) -> str:
    """Return how many a second, with as many digits as mean something."""
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.3g}"


def percent(share: float) -> str:
    """Return a share of 1 as per cent."""
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Return a duration as `350 ms`, `4.2 s`, `3:07` or `1:02:03`."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(in_bytes: int) -> str:
    """Return bytes as `950 B`, `4.2 kB`, `31 MB` or `1.5 GB`."""
    if in_bytes < 1_000:
        return f"{in_bytes} B"
    for step, unit in enumerate(("kB", "MB", "GB", "TB"), 1):
        number = in_bytes / 1_000**step
        if number < 999.5 or unit == "TB":
            break
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def spent(usd: Decimal, budget_usd: Decimal | None) -> str:
    """Return what was spent, such as `1.23 of 5.00 USD`."""
    of = "" if budget_usd is None else f" of {dollars(budget_usd)}"
    return f"{dollars(usd)}{of} USD"


def plural(number: int, noun: str) -> str:
    """Return `1 line` or `2 lines`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def address(text: str) -> str:
    """Return the address of a store without its password."""
    return _SECRET.sub(r"\1:…@", text)


def one_line(text: str, most: int = 200) -> str:
    """Return a text on one line, without control characters, cut short."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
