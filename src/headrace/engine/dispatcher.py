"""Leases items of one route from the store, a few ahead, and runs them.

```
store.flows ─► allot ─► store.lease ─► buffer ─► workers ─► handler ─► recorder
```
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import ahead_of, window_of
from headrace.engine.heartbeat import Heartbeat
from headrace.engine.looking import Looks
from headrace.engine.outcomes import failed, stopped, succeeded
from headrace.engine.recorder import Recorder
from headrace.engine.served import Served
from headrace.engine.shutdown import Drained
from headrace.engine.stock import Stock
from headrace.engine.work import Work
from headrace.errors import BudgetSpent, CallError, Rejected
from headrace.events import TryFailed
from headrace.jobs import JOB_ENDS, Finished, Flow, Job, JobState, Leased
from headrace.model import Call, Failure, ItemState, Outcome, Priority
from headrace.policies.allotment import Room, claims
from headrace.ports import Store

_STOPPED = frozenset({JobState.PAUSED, JobState.CANCELLING}) | JOB_ENDS
_LOOK_S = 1.0
"""How often an idle dispatcher looks for jobs of other processes."""
_PACED_S = 0.01
"""Shortest time over which the pace is measured."""

PauseJob = Callable[[int, str], Awaitable[object]]
"""Pauses the job of that number for that reason."""


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
        self._target = window_of(served.gate.capacity)
        self._started = self._leased = 0
        self._paced_at = clock.monotonic()
        self._buffer = Stock(clock)
        self._idle = 0
        """Workers that find none."""
        self._flows: dict[int, Flow] = {}
        self._running: dict[str, Work] = {}
        self._returned: list[Leased] = []
        self._turn = 0
        self._looks = Looks(store, served.route, clock)
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
            self._returned.extend(self._buffer.take_all())
            await self._give_back()

    def finish(self) -> None:
        """Let the workers go home when the buffer is empty: no more will come."""
        self._closed = True
        self._stock.set()

    def drain(self) -> None:
        """Start nothing more; what runs is finished, all else goes back."""
        self._returned.extend(self._buffer.take_all())
        self.finish()
        self._served.crew.drain()
        self._served.gate.drain()

    def look(self) -> None:
        """There may be new work: ask the store now."""
        self._looks.has_news = True
        self._hungry.set()

    def stop_job(self, job: int, state: ItemState) -> None:
        """Cancel the running items of a job; they end as `state`."""
        for work in list(self._running.values()):
            if work.lease.job == job and not _is_stopped(work):
                work.stopped_as = state
                if work.task is not None:
                    work.task.cancel()
        for lease in self._buffer.take_job(job):
            call = self._call_of(lease)
            if isinstance(call, Call):
                self._recorder.put(
                    Finished(lease, stopped(call, lease.custom_id, state)), []
                )

    def release_job(self, job: int, held: Container[str] = ()) -> None:
        """Put the items of a paused job back that have not begun.

        Those that wait for their first call, too, but for the caller's own.

        Args:
            job: which.
            held: ids of calls that wait for their upstream, and go back as well.
        """
        self._returned.extend(self._buffer.take_job(job))
        mine = (None, asyncio.current_task())
        for work in [w for w in self._running.values() if w.lease.job == job]:
            is_waiting = not work.call.trace.tries or work.call.id in held
            if is_waiting and not _is_stopped(work) and work.task not in mine:
                work.is_released = True
                work.task.cancel()
        self._hungry.set()

    def note_try(self, event: TryFailed) -> None:
        """Keep a failed try of a running item for its record."""
        work = self._running.get(event.id)
        if work is not None:
            work.note(event, self._clock.utc())

    # ---- the feeder

    async def _feed(self) -> None:
        while not self._closed:
            await self._give_back()
            self._look_ahead()
            room = self._target - self.held + self._served.crew.resting
            rest_s = self._looks.rest_s if room <= 0 else 0.0
            if rest_s > 0:
                self._hungry.clear()
                await self._wait_hungry(rest_s)
                continue
            may_lease = room > 0 or self._looks.has_news
            leased = await self._lease(max(0, room)) if may_lease else 0
            if self._closed:
                return
            if leased:
                self._stock.set()
                self._hungry.clear()
                if len(self._buffer) * 2 < self._target - len(self._running):
                    continue
            else:
                self._hungry.clear()
            await self._wait_hungry(_LOOK_S)

    def _look_ahead(self) -> None:
        """Hold more items the faster they start."""
        now = self._clock.monotonic()
        spent_s = now - self._paced_at
        if spent_s < _PACED_S:
            return
        started = self._leased - len(self._buffer)
        ahead = ahead_of(started - self._started, spent_s)
        self._target = window_of(self._served.gate.capacity) + ahead
        self._started, self._paced_at = started, now

    async def _wait_hungry(self, most_s: float) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(most_s, self.look)
        try:
            await self._hungry.wait()
        finally:
            timer.cancel()

    async def _lease(self, room: int) -> int:
        if not self._heartbeat.may_start():
            return 0
        flows = await self._looks.flows()
        flows = [flow for flow in flows if flow.job not in self._spent]
        keyed, portions = self._served.keyed, None
        if keyed is not None:
            portions = await keyed.portions(flows, self._held_by_key)
            flows = portions.flows
        left = sum(flow.left for flow in flows)
        self._served.gate.backlog = max(0, left - self.held)
        if not flows:
            return 0
        in_use = self._buffer.jobs() | {w.lease.job for w in self._running.values()}
        self._flows = {f.job: f for f in flows} | {
            job: self._flows[job] for job in in_use
        }
        self._turn += 1
        held = self._held_by_priority()
        wants = claims(Room(room, self._target, held), flows, self._turn)
        wants = wants if portions is None else portions.cut(wants)
        leased = await self._store.lease(self._epoch, wants) if wants else []
        self._leased += len(leased)
        if self._closed:
            self._returned.extend(leased)
        else:
            self._stow(leased, min(held, default=Priority.URGENT))
        return len(leased)

    def _stow(self, leased: Sequence[Leased], least: Priority) -> None:
        """Keep leased items until their turn; the urgent need not wait for a worker.

        Args:
            leased: new items.
            least: the lowest priority of those held before.
        """
        self._buffer.add(leased, self._flows)
        urgent = sum(self._flows[lease.job].priority > least for lease in leased)
        if urgent > self._idle:
            self._served.crew.surge(urgent - self._idle)

    def _held_by_priority(self) -> Counter[Priority]:
        held = self._buffer.by_priority(self._flows)
        held.update(work.call.priority for work in self._running.values())
        return held

    def _held_by_key(self) -> Counter[str]:
        running = (work.lease.job for work in self._running.values())
        jobs = self._buffer.by_job() + Counter(running)
        found: Counter[str] = Counter()
        for job, count in jobs.items():
            found[self._flows[job].key] += count
        return found

    async def _give_back(self) -> None:
        """Put the items back that will not be run here after all."""
        back, self._returned = self._returned, []
        if back:
            await self._store.release(self._epoch, back)

    # ---- the workers

    def _take_nowait(self) -> Leased | None:
        """Return the next item that may start; None if none is here."""
        buffer = self._buffer
        while (lease := buffer.take()) is not None:
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
            self._idle += 1
            try:
                await self._stock.wait()
            finally:
                self._idle -= 1
            lease = self._take_nowait()
            if lease is not None:
                return lease
        return None

    def _may_start(self, lease: Leased) -> bool:
        if not self._heartbeat.may_start() or lease.job in self._spent:
            return False
        return self._heartbeat.states.get(lease.job) not in _STOPPED

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
            finished = Finished(lease, stopped(call, lease.custom_id, work.stopped_as))
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


def stopped_state(job: Job) -> ItemState:
    """Return how the running items of a cancelling job end."""
    if job.ending is JobState.EXPIRED:
        return ItemState.EXPIRED
    return ItemState.CANCELLED
