"""What is kept of learnt rates from one process to the next."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.policies.lesson import OPEN, Lesson, Setting, Source
from headrace.policies.ratebook import MINUTE_S, MOST_LIMIT, ModelRates, sane


class Note(msgspec.Struct, frozen=True):
    """One learnt limit, to be kept for the next process."""

    model: str
    dimension: str
    window_s: float
    limit: float
    source: Source
    taken: float = 0.0
    """Units that counted in the window when it was noted."""


def noted(model: str, rates: ModelRates, now: float) -> list[Note]:
    """Return what is worth keeping; blocks are not."""
    return [
        Note(
            model,
            lesson.dimension,
            lesson.window_s,
            lesson.value,
            lesson.source,
            dim.taken(now),
        )
        for lesson, dim in zip(rates.lessons, rates.rate.dims, strict=True)
        if lesson.value < MOST_LIMIT
    ]


def recalled(
    notes: Sequence[Note], now: float, away_s: float, setting: Setting
) -> dict[str, ModelRates]:
    """Return by model what an earlier process learnt.

    Args:
        notes: from `noted`; those that make no sense are left out.
        now: monotonic seconds.
        away_s: since they were noted; within a window what was taken still counts.
        setting: of the endpoint.
    """
    found: dict[str, ModelRates] = {}
    for note in notes:
        limit = sane(note.limit)
        if limit is None or not 1.0 <= note.window_s <= MINUTE_S:
            continue
        told = limit if note.source == "headers" else OPEN
        lesson = Lesson(
            note.dimension, note.window_s, note.source, told, limit, seen_at=now
        )
        taken = note.taken if away_s < note.window_s else 0.0
        rates = found.get(note.model, ModelRates())
        found[note.model] = rates.begun(now, lesson, taken, setting)
    return found
