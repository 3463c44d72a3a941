"""How what was learnt is kept and found again: each function is one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.stores import statements_notes as of_notes
from headrace.stores.packing import text
from headrace.stores.statement import Each, Query, Steps

KEPT_S: Final = 30 * 86_400.0
"""Seconds after which a note that nobody writes again is forgotten: endpoints and
tenants come and go, and what held a month ago tells little of today."""


def remember(notes: Mapping[str, bytes]) -> Steps[None]:
    """Write notes over older ones of the same names; forget the oldest."""
    now = (yield Query(of_notes.time))[0][0]
    kept = {text(name): value for name, value in notes.items()}
    # In order of their names, lest two processes wait for each other.
    yield Each(of_notes.write, [(name, kept[name], now) for name in sorted(kept)])
    yield Query(of_notes.delete_older, {"since": now - KEPT_S})


def recall(prefix: str) -> Steps[dict[str, bytes]]:
    """Return the notes whose names begin so."""
    rows = yield Query(of_notes.beginning_with, {"prefix": text(prefix)})
    return {row[0]: bytes(row[1]) for row in rows}
