"""Leases items of one route from the store, a few ahead, and runs them.

```
store.flows ─► allot ─► store.lease ─► buffer ─► workers ─► handler ─► recorder
```
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import Crew, ahead_of, window_of
from headrace.engine.gate import Gate
from headrace.engine.heartbeat import Heartbeat
from headrace.engine.outcomes import CANCELLED, EXPIRED, ended, failed, succeeded
from headrace.engine.recorder import Recorder
from headrace.engine.shutdown import Drained
from headrace.errors import BudgetSpent, CallError, Rejected
from headrace.events import TryFailed
from headrace.jobs import JOB_ENDS, AttemptRecord, Finished, Flow, Job, JobState, Leased
from headrace.model import Call, Failure, Handler, ItemState, Outcome
from headrace.policies.allotment import allot
from headrace.ports import Learner, Store

_STOPPED = frozenset({JobState.PAUSED, JobState.CANCELLING}) | JOB_ENDS
_LOOK_S = 1.0
"""How often an idle dispatcher looks for jobs of other processes."""
_PACED_S = 0.01
"""Shortest time over which the pace is measured."""
_MAX_TRIES_KEPT = 20

MakeCall = Callable[[Leased, Flow], Call]
EncodeValue = Callable[[Any], bytes]
PauseJob = Callable[[int, str], Awaitable[object]]
"""Pauses the job of that number for that reason."""


class Served(msgspec.Struct, frozen=True):
    """A route as this process serves it."""

    route: str
    gate: Gate
    handler: Handler
    crew: Crew
    make_call: MakeCall
    """Raises a ValueError if the payload is none of this route's."""
    encode_value: EncodeValue
    """Raises `BadReply` if a value cannot be kept as JSON."""
    learner: Learner | None = None
    """What the route learns of its limits, kept for the next session."""


class Work(msgspec.Struct):
    """One leased item under way."""

    lease: Leased
    call: Call
    task: asyncio.Task[object] | None
    tries: list[AttemptRecord] = []
    stopped_as: ItemState | None = None
    is_released: bool = False


class Dispatcher:
    """Keeps the workers of one route in work until told to stop.

    Args:
        served: the route.
        store: where the items are.
        epoch: this owner.
        heartbeat: its lease, and the news of its jobs.
        recorder: takes the outcomes.
        clock: time.

    Invariant: never more items are leased than can soon start.
    """

    def __init__(
        self,
        served: Served,
        store: Store,
        epoch: int,
        heartbeat: Heartbeat,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._served = served
        self._store = store
        self._epoch = epoch
        self._heartbeat = heartbeat
        self._recorder = recorder
        self._clock = clock
        self._target = self._window = window_of(served.gate.capacity)
        self._started = self._leased = 0
        self._paced_at = clock.monotonic()
        self._buffer: deque[Leased] = deque()
        self._flows: dict[int, Flow] = {}
        self._running: dict[str, Work] = {}
        self._returned: list[Leased] = []
        self._turn = 0
        self._stock = asyncio.Event()
        self._hungry = asyncio.Event()
        self._hungry.set()
        self._closed = False
        self._spent: set[int] = set()
        """Jobs whose budget is spent, until they are paused."""
        self.pause_job: PauseJob = store.pause
        """What is done with them."""

    @property
    def held(self) -> int:
        """Items leased and not yet ended."""
        return len(self._buffer) + len(self._running)

    async def run(self) -> None:
        """Run items until `drain` or `finish`; leased ones not begun go back.

        Raises:
            LeaseLost, StoreError: nothing is lost; items are made again.
        """
        try:
            async with asyncio.TaskGroup() as group:
                feeder = group.create_task(self._feed())
                await self._served.crew.run(self._work)
                feeder.cancel()
        finally:
            self._returned.extend(self._buffer)
            self._buffer.clear()
            await self._give_back()

    def finish(self) -> None:
        """Let the workers go home when the buffer is empty: no more will come."""
        self._closed = True
        self._stock.set()

    def drain(self) -> None:
        """Start nothing more; what runs is finished, all else goes back."""
        self._returned.extend(self._buffer)
        self._buffer.clear()
        self.finish()
        self._served.crew.drain()
        self._served.gate.drain()

    def look(self) -> None:
        """There may be new work: ask the store now."""
        self._hungry.set()

    def stop_job(self, job: int, state: ItemState) -> None:
        """Cancel the running items of a job; they end as `state`."""
        for work in list(self._running.values()):
            if work.lease.job == job and not _is_stopped(work):
                work.stopped_as = state
                if work.task is not None:
                    work.task.cancel()
        for lease in [x for x in self._buffer if x.job == job]:
            self._buffer.remove(lease)
            call = self._call_of(lease)
            if isinstance(call, Call):
                self._recorder.put(Finished(lease, _stopped(call, lease, state)), [])

    def release_job(self, job: int) -> None:
        """Put the items of a paused job back that have not begun.

        Those that wait for their first call, too, but for the caller's own.
        """
        for lease in [x for x in self._buffer if x.job == job]:
            self._buffer.remove(lease)
            self._returned.append(lease)
        mine = (None, asyncio.current_task())
        for work in [w for w in self._running.values() if w.lease.job == job]:
            is_waiting = not work.call.trace.tries and not _is_stopped(work)
            if is_waiting and work.task not in mine:
                work.is_released = True
                work.task.cancel()
        self._hungry.set()

    def note_try(self, event: TryFailed) -> None:
        """Keep a failed try of a running item for its record."""
        work = self._running.get(event.id)
        if work is None or len(work.tries) >= _MAX_TRIES_KEPT:
            return
        work.tries.append(
            AttemptRecord(
                seq=work.lease.seq,
                generation=work.lease.generation,
                attempt=work.call.trace.tries,
                code=event.code,
                message=event.message,
                ended_at=self._clock.utc(),
                endpoint=event.endpoint,
            )
        )

    # ---- the feeder

    async def _feed(self) -> None:
        while not self._closed:
            await self._give_back()
            self._look_ahead()
            room = self._target - self.held + self._served.crew.resting
            leased = await self._lease(room) if room > 0 else 0
            if self._closed:
                return
            if leased:
                self._stock.set()
                self._hungry.clear()
                if len(self._buffer) * 2 < self._target - len(self._running):
                    continue
            else:
                self._hungry.clear()
            await self._wait_hungry()

    def _look_ahead(self) -> None:
        """Hold more items the faster they start."""
        now = self._clock.monotonic()
        spent_s = now - self._paced_at
        if spent_s < _PACED_S:
            return
        started = self._leased - len(self._buffer)
        self._target = self._window + ahead_of(started - self._started, spent_s)
        self._started, self._paced_at = started, now

    async def _wait_hungry(self) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_LOOK_S, self._hungry.set)
        try:
            await self._hungry.wait()
        finally:
            timer.cancel()

    async def _lease(self, room: int) -> int:
        if not self._heartbeat.may_start():
            return 0
        flows = await self._store.flows([self._served.route])
        flows = [flow for flow in flows if flow.job not in self._spent]
        if not flows:
            return 0
        self._flows = {f.job: f for f in flows} | {
            job: f for job, f in self._flows.items() if self._uses(job)
        }
        self._turn += 1
        wants = allot(room, flows, self._turn)
        leased = await self._store.lease(self._epoch, wants)
        self._leased += len(leased)
        if self._closed:
            self._returned.extend(leased)
        else:
            self._buffer.extend(leased)
        return len(leased)

    def _uses(self, job: int) -> bool:
        return any(x.job == job for x in self._buffer) or any(
            w.lease.job == job for w in self._running.values()
        )

    async def _give_back(self) -> None:
        """Put the items back that will not be run here after all."""
        back, self._returned = self._returned, []
        if back:
            await self._store.release(self._epoch, back)

    # ---- the workers

    def _take_nowait(self) -> Leased | None:
        """Return the next item that may start; None if none is here."""
        buffer = self._buffer
        while buffer:
            lease = buffer.popleft()
            if len(buffer) * 2 < self._target - len(self._running):
                self._hungry.set()
            if self._may_start(lease):
                return lease
            self._returned.append(lease)
        return None

    async def _wait_taken(self) -> Leased | None:
        """Wait for an item that may start; None if no more will come."""
        while not self._closed:
            self._stock.clear()
            self._hungry.set()
            await self._stock.wait()
            lease = self._take_nowait()
            if lease is not None:
                return lease
        return None

    def _may_start(self, lease: Leased) -> bool:
        if not self._heartbeat.may_start() or lease.job in self._spent:
            return False
        state = self._heartbeat.states.get(lease.job)
        return state is None or state not in _STOPPED

    async def _work(self) -> bool:
        if self._recorder.is_full:
            await self._recorder.wait_room()
        lease = self._take_nowait() or await self._wait_taken()
        if lease is None:
            return False
        call = self._call_of(lease)
        if isinstance(call, Call):
            await self._make(Work(lease, call, asyncio.current_task()))
        else:
            self._recorder.put(Finished(lease, call), [])
        return True

    async def _make(self, work: Work) -> None:
        """Make the call of an item; record what became of it, or put the item back."""
        lease, call = work.lease, work.call
        self._running[call.id] = work
        try:
            finished = await self._answer(work)
        except (Drained, BudgetSpent) as error:
            self._put_back(work)
            if isinstance(error, BudgetSpent):
                await self._hold_back(lease.job, str(error))
            return
        except asyncio.CancelledError:
            if not self._was_stopped(work):
                self._put_back(work)
                raise
            if work.stopped_as is None:
                self._put_back(work)
                return
            finished = Finished(lease, _stopped(call, lease, work.stopped_as))
        finally:
            del self._running[call.id]
        self._recorder.put(finished, work.tries)

    async def _hold_back(self, job: int, reason: str) -> None:
        """Start no more of a job, and have it paused."""
        if job not in self._spent:
            self._spent.add(job)
            try:
                await self.pause_job(job, reason)
            finally:
                self._spent.discard(job)

    def _call_of(self, lease: Leased) -> Call | Outcome:
        """Return the call of a leased item, or why its payload is none."""
        flow = self._flows[lease.job]
        try:
            call = self._served.make_call(lease, flow)
        except ValueError as error:
            failure = Failure(CallError.default_code, f"unreadable payload: {error}")
            return Outcome(
                lease.custom_id, lease.seq, ItemState.FAILED, failure=failure
            )
        call.trace.attempts = lease.attempts
        call.trace.queued_s = lease.queued_s
        return call

    async def _answer(self, work: Work) -> Finished:
        name = work.lease.custom_id
        try:
            reply = await self._served.handler(work.call)
            if reply.chunks is not None:
                reply.body = b"".join([chunk async for chunk in reply.chunks])
            body = self._served.encode_value(reply.body)
        except BudgetSpent:
            raise
        except (CallError, Rejected) as error:
            return Finished(work.lease, failed(work.call, name, error))
        return Finished(work.lease, succeeded(work.call, name, reply), body)

    def _was_stopped(self, work: Work) -> bool:
        """Was the cancellation just caught our own, for this item alone?"""
        if not _is_stopped(work) or work.task is None:
            return False
        return work.task.uncancel() <= 0

    def _put_back(self, work: Work) -> None:
        lease = work.lease
        attempts = work.call.trace.attempts
        self._returned.append(
            lease
            if attempts == lease.attempts
            else msgspec.structs.replace(lease, attempts=attempts)
        )


def _is_stopped(work: Work) -> bool:
    return work.is_released or work.stopped_as is not None


def _stopped(call: Call, lease: Leased, state: ItemState) -> Outcome:
    failure = EXPIRED if state is ItemState.EXPIRED else CANCELLED
    return ended(call, lease.custom_id, state, failure)


def stopped_state(job: Job) -> ItemState:
    """Return how the running items of a cancelling job end."""
    if job.ending is JobState.EXPIRED:
        return ItemState.EXPIRED
    return ItemState.CANCELLED
