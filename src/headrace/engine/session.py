"""One process at work on a store: owner, heartbeat, dispatchers, recorder, chores."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headrace.clock import Clock
from headrace.engine.dispatcher import Dispatcher, stopped_state
from headrace.engine.heartbeat import LEASE_S, Heartbeat
from headrace.engine.recorder import Recorder
from headrace.engine.remembering import Remembering
from headrace.engine.served import Served
from headrace.engine.shutdown import Shutdown
from headrace.engine.vigil import Vigil
from headrace.errors import JobError, LeaseLost, StoreFull, UpstreamDown, WrongState
from headrace.events import JobMoved as JobMovedEvent
from headrace.events import Listener, TryFailed
from headrace.jobs import JOB_ENDS, Job, JobState
from headrace.ports import Sink, Store

_log = logging.getLogger("headrace")
UPSTREAM = "upstream: "
"""Begins the reason of a pause that the upstream caused."""
_CHORES_S = 1.0
_ROOM_S = 5.0
"""A process that serves for ever outlives a full disk, and tries again so often."""
_HTTP_RESCUES = 100
_PAGE = 100
_RUNNABLE = (JobState.QUEUED, JobState.IN_PROGRESS)
_TIDY = (JobState.CANCELLING, JobState.FINALIZING)
"""States that the chores move on."""
_OVER = JOB_ENDS | {JobState.FINALIZING}


class SessionTools(msgspec.Struct, frozen=True):
    """What a session works with."""

    store: Store
    clock: Clock
    sink: Sink
    listener: Listener
    shutdown: Shutdown
    vigils: Mapping[str, Vigil] = {}
    """By route, who watches its upstream. A run ends when it is down. Where routes are
    served for ever, jobs wait until it is up; if it refuses our account, they pause."""
    lease_s: float = LEASE_S
    max_rescues: int = 5
    """An item whose owner died so often while it ran is failed as poisoned."""

    def for_http(self) -> SessionTools:
        """Return these where all calls go over HTTP, which seldom kills a process."""
        return msgspec.structs.replace(self, max_rescues=_HTTP_RESCUES)


class Session:
    """Runs the items of some routes until a job is over, or until asked to stop.

    Args:
        served: the routes.
        tools: see there.
        until: the job to finish; None serves for ever, and concludes jobs as they end.
    """

    def __init__(
        self, served: Sequence[Served], tools: SessionTools, until: Job | None = None
    ) -> None:
        self._served = served
        self._tools = tools
        self._until = until
        self._dispatchers: list[Dispatcher] = []
        self._down: UpstreamDown | None = None
        learners = [learner for s in served for learner in s.learners]
        self._memory = Remembering(tools.store, learners, tools.clock)
        self._is_paused = self._has_begun = False
        self._over = asyncio.Event()
        self._due = asyncio.Event()

    async def run(self) -> None:
        """Work; return when the job is over or the shutdown is complete.

        A job that `pause_job` has paused is over, too, though not ended.

        Raises:
            UpstreamDown: nothing was recorded as failed for it; resumable.
            StoreError: the database failed; what is not recorded is made again.
        """
        await self._memory.recall()
        while True:
            try:
                await self._run_owner()
            except LeaseLost:
                if self._tools.shutdown.draining.is_set() or self._is_paused:
                    return
            except StoreFull as error:
                if self._until is not None or await self._wait_room(error):
                    raise
            else:
                if self._down is not None:
                    raise self._down
                return

    async def _wait_room(self, error: StoreFull) -> bool:
        """Wait a little for room on the disk; return whether to stop meanwhile."""
        _log.error("jobs wait until there is room: %s", error)
        draining = self._tools.shutdown.draining
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_S):
                await draining.wait()
        return draining.is_set()

    def look(self) -> None:
        """There may be new work in the store."""
        for dispatcher in self._dispatchers:
            dispatcher.look()

    def note_try(self, event: TryFailed) -> None:
        """Keep a failed try for its item's record."""
        for dispatcher in self._dispatchers:
            dispatcher.note_try(event)

    async def pause_job(self, number: int, reason: str) -> None:
        """Start no more of one job; calls in flight end, what has not begun goes back.

        Changes nothing if the job is paused already, or ending. A session that runs
        until this job is over returns when the calls in flight have ended. May be asked
        by a layer of a call of that job; it must put its own call back by `Drained`.

        Args:
            number: `Job.number`.
            reason: shown to people, such as `budget: 5 US dollars are spent`.
        """
        try:
            job = await self._tools.store.pause(number, reason)
        except WrongState:
            return
        self._job_moved(job)
        is_ours = self._until is not None and number == self._until.number
        self._is_paused = self._is_paused or is_ours
        self._release(number)
        for dispatcher in self._dispatchers if is_ours else ():
            dispatcher.drain()

    async def _run_owner(self) -> None:
        store, lease_s = self._tools.store, self._tools.lease_s
        epoch = await store.register(socket.gethostname(), os.getpid(), lease_s)
        heartbeat = Heartbeat(store.pulse(epoch, lease_s), lease_s)
        heartbeat.start()
        try:
            await self._work_as(epoch, heartbeat)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            await heartbeat.stop()
            await store.retire(epoch)

    async def _work_as(self, epoch: int, heartbeat: Heartbeat) -> None:
        tools = self._tools
        recorder = Recorder(
            tools.store, epoch, tools.sink, self._job_moved, tools.clock
        )
        self._dispatchers = [
            Dispatcher(s, tools.store, epoch, heartbeat, recorder, tools.clock)
            for s in self._served
        ]
        for dispatcher in self._dispatchers:
            dispatcher.pause_job = self.pause_job
        async with asyncio.TaskGroup() as group:
            recording = group.create_task(recorder.run())
            running = [group.create_task(d.run()) for d in self._dispatchers]
            aside = [group.create_task(x) for x in self._companions(heartbeat, running)]
            await asyncio.wait(running)
            recorder.close()
            await asyncio.wait([recording])
            await self._memory.finish()
            if recorder.stale:
                _log.warning("%d outcomes came too late to count", recorder.stale)
            for task in aside:
                task.cancel()

    def _companions(
        self, heartbeat: Heartbeat, running: list[asyncio.Task[None]]
    ) -> list[Coroutine[Any, Any, None]]:
        found = [
            self._hear_news(heartbeat),
            self._do_chores(),
            self._memory.run(),
            self._await_shutdown(running),
        ]
        if self._until is not None:
            found.append(self._await_end())
        else:
            found.append(self._begin_again())
        for route, vigil in self._tools.vigils.items():
            found.append(self._watch_upstream(route, vigil, running))
        return found

    async def _begin_again(self) -> None:
        """What was paused for its upstream gets another chance from a new process."""
        if not self._has_begun:
            self._has_begun = True
            await self.resume_jobs()

    # ---- what ends a session

    async def _await_end(self) -> None:
        await self._over.wait()
        for dispatcher in self._dispatchers:
            dispatcher.finish()

    async def _await_shutdown(self, running: list[asyncio.Task[None]]) -> None:
        await self._tools.shutdown.draining.wait()
        for dispatcher in self._dispatchers:
            dispatcher.drain()
        await self._tools.shutdown.cancelling.wait()
        for task in running:
            task.cancel()

    async def _watch_upstream(
        self, route: str, vigil: Vigil, running: list[asyncio.Task[None]]
    ) -> None:
        while True:
            down = await vigil.wait_down()
            if self._until is not None:
                self._down = down
                for task in running:
                    task.cancel()
                return
            if vigil.blames_account:
                await self._pause_jobs(route, f"{UPSTREAM}{down}")
                vigil.reset()
            else:
                _log.warning("jobs of route %s wait: %s", route, down)
                await vigil.wait_other()
                if not vigil.blames_account:
                    _log.warning("jobs of route %s go on: it answers again", route)

    async def _pause_jobs(self, route: str, reason: str) -> None:
        async for job in self._jobs():
            if job.route == route and job.state in _RUNNABLE:
                await self.pause_job(job.number, reason)

    async def resume_jobs(self) -> int:
        """Let jobs of our routes go on that were paused for their upstream."""
        count, routes = 0, {served.route for served in self._served}
        async for job in self._jobs():
            is_held = job.state is JobState.PAUSED and job.route in routes
            if is_held and job.pause_reason.startswith(UPSTREAM):
                with suppress(JobError):  # somebody was faster
                    self._job_moved(await self._tools.store.resume(job.number))
                    count += 1
        self.look()
        return count

    async def _jobs(self) -> AsyncIterator[Job]:
        before: int | None = None
        while jobs := await self._tools.store.jobs(_PAGE, before):
            before = jobs[-1].number
            for job in jobs:
                yield job

    def _job_moved(self, job: Job) -> None:
        self._tools.listener(JobMovedEvent(job.id, job.state, job.version))
        is_ours = self._until is not None and job.number == self._until.number
        if is_ours and job.state in _OVER:
            self._over.set()
        if job.state in _TIDY:
            self._due.set()

    # ---- news and chores

    async def _hear_news(self, heartbeat: Heartbeat) -> None:
        while True:
            await heartbeat.wait_beat()
            for number, state in heartbeat.states.items():
                if state is JobState.CANCELLING:
                    await self._stop_job(number)
                elif state is JobState.PAUSED:
                    self._release(number)

    def _release(self, number: int) -> None:
        """Put the items of a paused job back that wait for a call, or for an upstream."""
        held = frozenset().union(*(v.held for v in self._tools.vigils.values()))
        for dispatcher in self._dispatchers:
            dispatcher.release_job(number, held)

    async def _stop_job(self, number: int) -> None:
        job = await self._tools.store.job(number)
        if job is None:
            return
        for dispatcher in self._dispatchers:
            dispatcher.stop_job(number, stopped_state(job))

    async def _do_chores(self) -> None:
        tools = self._tools
        next_rescue_at = 0.0
        while True:
            now = tools.clock.monotonic()
            if now >= next_rescue_at:
                next_rescue_at = now + tools.lease_s / 5
                if await tools.store.rescue(tools.max_rescues):
                    self.look()
            while await tools.store.sweep():
                pass
            await self._note_ends()
            self._due.clear()
            timer = asyncio.get_running_loop().call_later(_CHORES_S, self._due.set)
            try:
                await self._due.wait()
            finally:
                timer.cancel()

    async def _note_ends(self) -> None:
        store = self._tools.store
        if self._until is not None:
            job = await store.job(self._until.number)
            if job is None or job.state in _OVER:
                self._over.set()
            return
        for job in await store.finalizing([s.route for s in self._served]):
            self._job_moved(await store.conclude(job.number))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that ended a group: the first that is no group itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
