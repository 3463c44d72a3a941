"""Who wants to know what a process does with jobs, and how they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headrace.events import CallEnded, TryFailed
from headrace.jobs import Job
from headrace.model import Outcome

LOOK_S = 1.0
"""How often a watcher looks for what other processes did."""


class Watcher:
    """Told of changes, in the event loop; must not block and never raises.

    Whoever watches overrides what it wants to know.
    """

    def moved(self, job_id: str, job: Job | None) -> None:
        """A job has changed; `job` is as the store has it now, None = not known."""

    def recorded(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Outcomes of a job are safe in the store, in the order of their numbers."""

    def tried(self, event: TryFailed) -> None:
        """A call failed; it may be tried again."""

    def called(self, event: CallEnded) -> None:
        """A call that no job holds has ended; its tries and waits are known."""

    def stopping(self) -> None:
        """This process works on jobs no more; whoever waits for them should leave."""


class Changes:
    """Tells of what this process does; other processes are seen in the store alone."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self._watchers: tuple[Watcher, ...] = ()

    def watch(self, watcher: Watcher) -> None:
        """Tell a watcher from now on."""
        self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell a watcher no more; idempotent."""
        self._watchers = tuple(w for w in self._watchers if w is not watcher)

    def tell_moved(self, job_id: str, job: Job | None) -> None:
        """A job has changed: wake everyone who waits, and tell the watchers."""
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()
        for watcher in self._watchers:
            watcher.moved(job_id, job)

    def tell_recorded(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Outcomes are safe, and so their job has changed."""
        for watcher in self._watchers:
            watcher.recorded(job, outcomes)
        self.tell_moved(job.id, job)

    def tell_tried(self, event: TryFailed) -> None:
        """A call failed."""
        for watcher in self._watchers:
            watcher.tried(event)

    def tell_called(self, event: CallEnded) -> None:
        """A call that no job holds has ended."""
        for watcher in self._watchers:
            watcher.called(event)

    def end(self) -> None:
        """Nothing more is to come; idempotent."""
        for watcher in self._watchers:
            watcher.stopping()

    async def wait(self) -> None:
        """Wait until something may have changed, at most `LOOK_S`."""
        bell = self._bell
        timer = asyncio.get_running_loop().call_later(LOOK_S, bell.set)
        try:
            await bell.wait()
        finally:
            timer.cancel()
