"""What the simulated provider counts, in memory bounded by `max_ids`."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

_MOST = 65_535


class ItemCounts:
    """How often each item was called, by the `<job>-<seq>` part of `<job>-<seq>-<try>`.

    Two bytes an item: a job's counts stand in one array by `seq`. Other ids stand whole
    in a dictionary. What finds no room any more is only counted as `untracked`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most
        self._jobs: dict[str, array[int]] = {}
        self._others: dict[str, int] = {}
        self.untracked = 0

    def add(self, call_id: str) -> None:
        item, _, attempt = call_id.rpartition("-")
        job, _, seq = item.rpartition("-")
        if not (job and _is_number(seq) and _is_number(attempt)):
            self._add_other(call_id)
        elif not self._add_item(job, int(seq)):
            self._add_other(item)

    def _add_item(self, job: str, seq: int) -> bool:
        counts = self._jobs.get(job)
        missing = seq + 1 - (len(counts) if counts else 0)
        if missing > 0:
            grown = min(max(missing, seq // 4 + 64), self._room)
            if missing > self._room:
                return False
            counts = self._jobs.setdefault(job, array("H"))
            counts.frombytes(bytes(2 * grown))
            self._room -= grown
        assert counts is not None
        counts[seq] = min(counts[seq] + 1, _MOST)
        return True

    def _add_other(self, whole: str) -> None:
        if whole in self._others:
            self._others[whole] += 1
        elif len(self._others) < self._most:
            self._others[whole] = 1
        else:
            self.untracked += 1

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each item called, with how often."""
        for job, counts in self._jobs.items():
            for seq, count in enumerate(counts):
                if count:
                    yield f"{job}-{seq}", count
        yield from self._others.items()


class BodyCounts:
    """How often each body was sent, by the first 8 bytes of its BLAKE2b digest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[bytes, int] = {}
        self.untracked = 0

    def add(self, body: bytes) -> None:
        digest = hashlib.blake2b(body, digest_size=8).digest()
        count = self._counts.get(digest, 0)
        if count or len(self._counts) < self._most:
            self._counts[digest] = count + 1
        else:
            self.untracked += 1

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((digest.hex(), count) for digest, count in self._counts.items())


class Tally:
    """Counters of one upstream; reset by making a new one."""

    def __init__(self, max_ids: int) -> None:
        self.calls = 0
        self.answered = 0
        self.dropped = 0
        self.hung = 0
        self.malformed = 0
        self.aborted = 0
        self.in_flight = 0
        self.waiting = 0
        self.peak_in_flight = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.reserved_tokens = 0
        self.refused: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.items = ItemCounts(max_ids)
        self.bodies = BodyCounts(max_ids)

    def enter(self) -> None:
        """One more call is being served."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def snapshot(self) -> dict[str, Any]:
        """Return the counters, ready for JSON."""
        refused = {"total": self.refused.total(), **self.refused}
        errors: dict[str, int] = {"total": self.errors.total()}
        errors.update((str(status), n) for status, n in sorted(self.errors.items()))
        return {
            "calls": self.calls,
            "answered": self.answered,
            "refused": refused,
            "errors": errors,
            "dropped": self.dropped,
            "hung": self.hung,
            "malformed": self.malformed,
            "aborted": self.aborted,
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "peak_in_flight": self.peak_in_flight,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "reserved_tokens": self.reserved_tokens,
        }

    def ids(self, *, whole: bool) -> dict[str, Any]:
        """Return how often items and bodies came; `whole` names each of them."""
        return {
            "items": _repeats(self.items, self.items.untracked, whole=whole),
            "bodies": _repeats(self.bodies, self.bodies.untracked, whole=whole),
        }


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _repeats(
    counts: ItemCounts | BodyCounts, untracked: int, *, whole: bool
) -> dict[str, Any]:
    histogram: Counter[str] = Counter()
    repeated: dict[str, int] = {}
    for name, count in counts:
        histogram[str(count)] += 1
        if count > 1:
            repeated[name] = count
    found: dict[str, Any] = {
        "different": histogram.total(),
        "untracked": untracked,
        "by_count": dict(sorted(histogram.items(), key=lambda pair: int(pair[0]))),
        "repeated": repeated,
    }
    if whole:
        found["all"] = dict(counts)
    return found
