"""One leased item under way."""

from __future__ import annotations

import asyncio

import msgspec

from headrace.events import TryFailed
from headrace.jobs import AttemptRecord, Leased
from headrace.model import Call, ItemState

_MAX_TRIES_KEPT = 20


class Work(msgspec.Struct):
    """One leased item under way."""

    lease: Leased
    call: Call
    task: asyncio.Task[object] | None
    tries: list[AttemptRecord] = []
    stopped_as: ItemState | None = None
    is_released: bool = False

    def note(self, event: TryFailed, ended_at: float) -> None:
        """Keep a failed try for the item's record; the first 20 only."""
        if len(self.tries) >= _MAX_TRIES_KEPT:
            return
        self.tries.append(
            AttemptRecord(
                seq=self.lease.seq,
                generation=self.lease.generation,
                attempt=self.call.trace.tries,
                code=event.code,
                message=event.message,
                ended_at=ended_at,
                endpoint=event.endpoint,
            )
        )
