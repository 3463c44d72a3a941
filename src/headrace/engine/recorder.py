"""Writes outcomes in groups: one commit for up to 500, or for 50 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.clock import Clock
from headrace.jobs import AttemptRecord, Finished, Job, Recorded
from headrace.model import Outcome
from headrace.ports import Records, Sink

GROUP = 500
GROUP_S = 0.05
_BACKLOG = 4 * GROUP
"""Outcomes that may wait for their commit before their workers wait too."""

JobMoved = Callable[[Job], None]


class Recorder:
    """Keeps outcomes, then shows them; nothing is shown that is not safe.

    Args:
        records: the store.
        epoch: this owner; its writes change nothing that it does not hold.
        sink: shown each committed outcome.
        job_moved: told of each job a group touched.
        clock: tells for how long an outcome waited for its group.
    """

    def __init__(
        self,
        records: Records,
        epoch: int,
        sink: Sink,
        job_moved: JobMoved,
        clock: Clock,
    ) -> None:
        self._records = records
        self._epoch = epoch
        self._sink = sink
        self._job_moved = job_moved
        self._now = clock.monotonic
        self._put_at: list[float] = []
        self._finished: list[Finished] = []
        self._tries: list[tuple[int, AttemptRecord]] = []
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.is_full = False
        """Are too many outcomes not yet safe? Then `wait_room` first."""
        self._closed = False
        self.stale = 0
        """Outcomes that came too late: another owner holds the item."""

    def put(self, finished: Finished, tries: list[AttemptRecord]) -> None:
        """Take one outcome; it is safe after the next group."""
        self._finished.append(finished)
        self._put_at.append(self._now())
        for record in tries:
            self._tries.append((finished.lease.item, record))
        count = len(self._finished)
        if count == 1:
            self._arrived.set()
        if count == GROUP:
            self._full.set()
        if count >= _BACKLOG:
            self.is_full = True
            self._room.clear()

    async def wait_room(self) -> None:
        """Wait while too many outcomes are not yet safe."""
        await self._room.wait()

    async def run(self) -> None:
        """Write groups until closed and empty.

        Raises:
            StoreError: the group at hand is not safe; its items stay leased and are
                made again.
        """
        while not self._closed or self._finished:
            await self._arrived.wait()
            if len(self._finished) < GROUP and not self._closed:
                await self._gather()
            await self._flush()
            if not self._finished and not self._closed:
                self._arrived.clear()

    def close(self) -> None:
        """Let `run` end after what it has been given."""
        self._closed = True
        self._arrived.set()
        self._full.set()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(GROUP_S, self._full.set)
        await self._full.wait()
        timer.cancel()

    async def _flush(self) -> None:
        group, self._finished = self._finished, []
        tries, self._tries = self._tries, []
        put_at, self._put_at = self._put_at, []
        self._full.clear()
        if self._closed:
            self._full.set()
        self.is_full = False
        self._room.set()
        if not group:
            return
        now = self._now()
        for finished, at in zip(group, put_at, strict=True):
            # Until the commit begins: what it takes is known too late to be in it.
            finished.outcome.trace.recording_s = now - at
        recorded = await self._records.record(
            self._epoch, group, tries, self._sink.mark()
        )
        self._show(group, recorded)

    def _show(self, group: list[Finished], recorded: Recorded) -> None:
        shown: dict[int, list[Outcome]] = {}
        last: dict[int, int] = {}
        for finished in group:
            number = recorded.numbers.get(finished.lease.item)
            if number is None:
                self.stale += 1
                continue
            shown.setdefault(finished.lease.job, []).append(finished.outcome)
            last[finished.lease.job] = number
        for key, outcomes in shown.items():
            self._sink.committed(recorded.jobs[key], outcomes, last[key])
        for job in recorded.jobs.values():
            self._job_moved(job)
