"""Where the time of many items went, and which limit held them back."""

from __future__ import annotations

import msgspec

from headrace.model import Trace

PARTS = (
    "queued",
    "joined",
    "rate",
    "slot",
    "endpoint",
    "backoff",
    "in_flight",
    "recording",
)
"""In the order in which an item passes through them."""

MEANINGS = {
    "queued": "waiting in the store",
    "joined": "waiting for an equal call under way",
    "rate": "waiting for the rate limit",
    "slot": "waiting for a free slot",
    "endpoint": "waiting for a healthy endpoint",
    "backoff": "backing off after a failure",
    "in_flight": "in flight",
    "recording": "being recorded",
}

_LIMITS = {
    "rate": "the rate limit (--rpm, --tpm or what the provider allows)",
    "slot": "calls in flight (--in-flight)",
    "endpoint": "endpoints that were cut off or asked for a pause",
    "backoff": "failures that were tried again",
}
_HELD_SHARE = 0.05
"""Waits below this share of the time after the queue hold nobody back."""


class Share(msgspec.Struct, frozen=True):
    """One part of the time."""

    part: str
    seconds: float
    share: float
    """Of all the time, 0 to 1."""


class Attribution:
    """Adds up where the time of items went."""

    def __init__(self) -> None:
        self.items = 0
        self._seconds = dict.fromkeys(PARTS, 0.0)

    def add(self, trace: Trace) -> None:
        """Add one item's time."""
        seconds = self._seconds
        self.items += 1
        seconds["queued"] += trace.queued_s
        seconds["joined"] += trace.joined_s
        seconds["rate"] += trace.rate_s
        seconds["slot"] += trace.slot_s
        seconds["endpoint"] += trace.endpoint_s
        seconds["backoff"] += trace.backoff_s
        seconds["in_flight"] += trace.in_flight_s
        seconds["recording"] += trace.recording_s

    @property
    def total_s(self) -> float:
        return sum(self._seconds.values())

    def shares(self) -> list[Share]:
        """Return all parts in order; their shares add up to 1, or are all 0."""
        total_s = self.total_s
        return [
            Share(part, seconds, seconds / total_s if total_s > 0 else 0.0)
            for part, seconds in self._seconds.items()
        ]

    def bound(self) -> str:
        """Say what held the items back most after they had left the queue.

        In a batch all items wait in the queue for whatever binds, so the queue itself
        says nothing.
        """
        left_s = self.total_s - self._seconds["queued"]
        part = max(_LIMITS, key=lambda each: self._seconds[each])
        if left_s <= 0 or self._seconds[part] < _HELD_SHARE * left_s:
            return "the answers themselves: calls start as soon as they may"
        return _LIMITS[part]


class Binding:
    """Adds up for how long each limit bound a run."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, limit: str, seconds: float) -> None:
        """Take note of a stretch of time in which `limit` bound."""
        self._seconds[limit] = self._seconds.get(limit, 0.0) + seconds

    def shares(self) -> list[Share]:
        """Return the limits that bound, the longest first; may be empty."""
        total_s = sum(self._seconds.values())
        found = sorted(self._seconds.items(), key=lambda each: -each[1])
        return [Share(name, s, s / total_s) for name, s in found if s > 0]
