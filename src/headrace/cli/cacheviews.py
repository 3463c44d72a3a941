"""What a cache did and holds, in words and for programs."""

from __future__ import annotations

import msgspec

from headrace.cli import words
from headrace.events import CacheStatistics


def cache_lines(cache: CacheStatistics) -> list[str]:
    """Return what the cache saved, and how much it keeps."""
    told = [words.plural(cache.hits, "hit")]
    if cache.joined:
        told.append(f"{words.count(cache.joined)} joined an equal call")
    if cache.stale:
        told.append(f"{words.count(cache.stale)} past their time, for the call failed")
    told.append(f"{words.plural(cache.misses, 'call')} made")
    if cache.skipped:
        told.append(f"{words.count(cache.skipped)} not to be kept")
    lines = [f"{', '.join(told)} ({words.percent(cache.hit_rate)} saved)"]
    if cache.input_tokens or cache.output_tokens:
        saved = (
            f"saved {words.count(cache.input_tokens)} tokens in, "
            f"{words.count(cache.output_tokens)} out"
        )
        lines.append(saved + (f", ${cache.usd:,.4f}" if cache.usd else ""))
    if cache.entries is not None and cache.bytes is not None:
        lines.append(held_line(cache.entries, cache.bytes))
    return lines


def held_line(entries: int, size: int) -> str:
    """Return how much is kept."""
    noun = "answer" if entries == 1 else "answers"
    return f"{words.count(entries)} {noun} kept, {words.size(size)}"


def cache_fields(cache: CacheStatistics) -> dict[str, object]:
    """Return the same for programs."""
    return {
        **msgspec.to_builtins(cache),
        "saved_calls": cache.saved_calls,
        "hit_rate": round(cache.hit_rate, 4),
    }
