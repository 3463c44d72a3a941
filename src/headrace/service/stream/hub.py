"""Who listens to which jobs, and the one pace at which all are told.

```
engine ──moved──► what has changed ──┐  at most 9 times a second,
store  ──looked at once a second─────┴─► fewer the more listen ──► each Listener
```
A view is read and encoded once, however many listen to it. The engine only takes note
that something has changed: nobody who listens is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Protocol

from headrace.changes import LOOK_S, Changes, Watcher
from headrace.clock import Clock
from headrace.errors import StoreError
from headrace.jobs import Job
from headrace.ports import Jobs
from headrace.service.beside import beside
from headrace.service.stream.listener import Listener
from headrace.service.stream.views import View, view_of_job

_log = logging.getLogger("headrace.service")
TICK_S = 0.112
"""Between two views of one job: with the first one at most ten in any second."""
DELIVERIES_PER_S = 400
"""Views told a second, over all who listen. One costs about 100 µs: 4 % of a core."""
ENDS_PER_S = 4_000
"""Ends told a second: nobody should wait long for one."""
SLICE = 40
"""Views told before others have their turn: 4 ms in which nothing else is done."""
LOOKS_PER_S = 200
"""Jobs looked at a second for what other processes did."""
RECENT = 50
"""Jobs that a listener to all is told at first, and that are looked at for it."""

Look = Callable[[], Awaitable[View | None]]
"""Reads something anew; None if it is gone."""


class Home(Protocol):
    """Where jobs are, and who tells of their changes."""

    changes: Changes

    @property
    def store(self) -> Jobs:
        """Where the jobs are."""
        ...


class Topic:
    """One job or batch that somebody listens to."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.listeners: set[Listener] = set()
        self.job_id = ""
        self.last: View | None = None

    def is_news(self, view: View) -> bool:
        """Take a view unless it is older than the last one; say whether it differs."""
        last = self.last
        if last is not None and view.version < last.version:
            return False
        self.last = view
        return last is None or view.body != last.body


class Pace:
    """Spreads views over time: a thousand at once would hold up all else.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = SLICE

    async def told(self, view: View) -> None:
        """One listener was told of a view; wait, if it was the last of its slice."""
        self._left -= 1
        if self._left == 0:
            self._left = SLICE
            per_s = ENDS_PER_S if view.has_ended else DELIVERIES_PER_S
            await self._clock.sleep(SLICE / per_s)


class Hub(Watcher):
    """Tells listeners of the jobs and batches of one store.

    Args:
        home: tells what this process does; its store, what others do.
        clock: time.
    """

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._pace = Pace(clock)
        self._topics: dict[str, Topic] = {}
        self._all: set[Listener] = set()
        self._moved: dict[str, Job | None] = {}
        self._versions: dict[str, int] = {}
        self._bell = asyncio.Event()
        self._is_over = False
        self._count = 0
        self.told = 0
        """Views handed to listeners so far."""
        self._coalesced = 0
        self._dropped = 0

    # ---- who listens

    @property
    def listeners(self) -> int:
        """How many listen."""
        return self._count

    @property
    def coalesced(self) -> int:
        """Views so far that a newer one of the same job replaced before they were sent."""
        return self._coalesced + sum(x.coalesced for x in self._listening())

    @property
    def dropped(self) -> int:
        """Views so far that were given up since too many waited."""
        return self._dropped + sum(x.dropped for x in self._listening())

    @contextmanager
    def one(self, id: str, look: Look, first: View) -> Iterator[Listener]:
        """Listen to one job or batch while the block lasts.

        Args:
            id: of it.
            look: reads it anew.
            first: as it was read last; only what differs is told.
        """
        topic = self._topics.get(id)
        if topic is None:
            topic = self._topics[id] = Topic(look)
            topic.last, topic.job_id = first, first.job_id
        listener = Listener()
        last = topic.last
        if last is not None and last.version > first.version:
            listener.offer(last)
        topic.listeners.add(listener)
        try:
            with self._counted(listener):
                yield listener
        finally:
            topic.listeners.discard(listener)
            if not topic.listeners and self._topics.get(id) is topic:
                del self._topics[id]

    @contextmanager
    def all(self, tenant: str | None) -> Iterator[Listener]:
        """Listen to all jobs of a tenant while the block lasts; None = of everyone."""
        listener = Listener(tenant)
        self._all.add(listener)
        try:
            with self._counted(listener):
                yield listener
        finally:
            self._all.discard(listener)

    @contextmanager
    def _counted(self, listener: Listener) -> Iterator[None]:
        if self._is_over:
            listener.end()
        self._count += 1
        self._bell.set()
        try:
            yield
        finally:
            self._count -= 1
            self._coalesced += listener.coalesced
            self._dropped += listener.dropped

    def _listening(self) -> Iterator[Listener]:
        yield from self._all
        for topic in self._topics.values():
            yield from topic.listeners

    # ---- what the engine tells

    def moved(self, job_id: str, job: Job | None) -> None:
        """Take note that a job has changed, if anybody wants to know."""
        if self._count:
            self._moved[job_id] = job
            self._bell.set()

    def stopping(self) -> None:
        """Let everyone go once they have been told what waits for them."""
        self._is_over = True
        for listener in list(self._listening()):
            listener.end()

    # ---- how it is passed on

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell while the block lasts; then nothing more is to come."""
        self._home.changes.watch(self)
        async with beside(self._run()):
            try:
                yield
            finally:
                self._home.changes.unwatch(self)
                self.stopping()

    async def _run(self) -> None:
        look_at = self._clock.monotonic() + LOOK_S
        while True:
            left_s = look_at - self._clock.monotonic()
            await self._await_news(max(0.0, left_s))
            began_at = self._clock.monotonic()
            try:
                await self._pass_on()
                if self._count and self._clock.monotonic() >= look_at:
                    await self._look_around()
            except StoreError as error:
                _log.warning("listeners are not told for a while: %s", error)
            if self._clock.monotonic() >= look_at:
                look_s = max(LOOK_S, len(self._topics) / LOOKS_PER_S)
                look_at = self._clock.monotonic() + look_s
            spent_s = self._clock.monotonic() - began_at
            every_s = self._count / DELIVERIES_PER_S
            await self._clock.sleep(max(TICK_S, every_s - spent_s))

    async def _await_news(self, timeout_s: float) -> None:
        if not self._count:
            await self._bell.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        self._bell.clear()

    async def _pass_on(self) -> None:
        """Tell of all that has changed since the last time."""
        moved, self._moved = self._moved, {}
        by_job = {topic.job_id: topic for topic in self._topics.values()}
        for job_id, told in moved.items():
            topic = self._topics.get(job_id) or by_job.get(job_id)
            if topic is None and not self._all:
                continue
            job = told or await self._home.store.job(job_id)
            if job is None:
                continue
            if self._all:
                await self._tell_all(job)
            if job_id in self._topics:
                await self._tell(self._topics[job_id], view_of_job(job))
            elif topic is not None:
                await self._look_at(topic)

    async def _look_around(self) -> None:
        """Tell of what other processes have changed."""
        for topic in list(self._topics.values()):
            await self._look_at(topic)
        if self._all:
            jobs = await self._home.store.jobs(RECENT)
            for job in reversed(jobs):
                if self._versions.get(job.id) != job.version:
                    await self._tell_all(job)
            self._versions = {job.id: job.version for job in jobs}

    async def _look_at(self, topic: Topic) -> None:
        view = await topic.look()
        if view is None:
            for listener in topic.listeners:
                listener.end()
        else:
            topic.job_id = view.job_id
            await self._tell(topic, view)

    async def _tell(self, topic: Topic, view: View) -> None:
        """Tell everyone who listens to it of a view, unless it is no news."""
        if topic.is_news(view):
            await self._offer(view, topic.listeners)

    async def _tell_all(self, job: Job) -> None:
        self._versions[job.id] = job.version
        seeing = {x for x in self._all if x.tenant in (None, job.tenant)}
        await self._offer(view_of_job(job), seeing)

    async def _offer(self, view: View, listeners: set[Listener]) -> None:
        """Offer a view to all of them; who comes meanwhile has it already."""
        for listener in tuple(listeners):
            listener.offer(view)
            self.told += 1
            await self._pace.told(view)
