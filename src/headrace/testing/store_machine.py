"""Random sequences of operations on a store, held against a model after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from headrace.errors import WrongState
from headrace.jobs import FailurePolicy, Finished, Job, Leased
from headrace.model import Usage
from headrace.testing.store_checks_sums import costing
from headrace.testing.store_model import JobModel
from headrace.testing.store_world import (
    LEASE_S,
    World,
    failed,
    owner,
    raises,
    seen,
    submit,
    succeeded,
    sweep_all,
)

T = TypeVar("T")
MAX_JOBS = 3
MAX_OWNERS = 3
MAX_RESCUES = 2

pick = st.integers(0, 1000)
interferences = st.sampled_from(["cancel", "pause", "resume", "conclude", "retry"])
policies = st.sampled_from([FailurePolicy(), FailurePolicy(0.0), FailurePolicy(0.5)])


def store_machine(
    open_world: Callable[[], AbstractAsyncContextManager[World]],
) -> type[RuleBasedStateMachine]:
    """Return the state machine that tries the stores that `open_world` opens.

    A store may be used for several runs: each retires its owners when it ends.
    """

    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__(open_world())

    return Machine


class StoreMachine(RuleBasedStateMachine):
    """Several owners work on several jobs, and die, and people interfere."""

    def __init__(self, opening: AbstractAsyncContextManager[World]) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._opening = opening
        self._world = self._do(opening.__aenter__())
        self._jobs: list[tuple[Job, JobModel]] = []
        self._alive: list[int] = []
        self._dead: set[int] = set()
        self._leases: list[tuple[int, Leased]] = []

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def _job(self, k: int) -> tuple[Job, JobModel]:
        return self._jobs[k % len(self._jobs)]

    def _model(self, lease: Leased) -> JobModel:
        return next(m for job, m in self._jobs if job.number == lease.job)

    def _is_held(self, epoch: int, lease: Leased) -> bool:
        return self._model(lease).is_held(lease.seq, epoch, lease.generation)

    @initialize(policy=policies)
    def begin(self, policy: FailurePolicy) -> None:
        self.submit(4, policy)

    @precondition(lambda self: len(self._jobs) < MAX_JOBS)
    @rule(n=st.integers(0, 5), policy=policies)
    def submit(self, n: int, policy: FailurePolicy) -> None:
        job = self._do(submit(self._world.store, n, on_failure=policy))
        self._jobs.append((job, JobModel(n, policy)))

    @rule(who=pick, which=pick, n=st.integers(1, 4))
    def lease(self, who: int, which: int, n: int) -> None:
        """Take items; a new owner steps in where there are too few."""
        if who % MAX_OWNERS >= len(self._alive):
            self._alive.append(self._do(owner(self._world.store)))
        epoch = self._alive[who % len(self._alive)]
        job, model = self._job(which)
        leases = self._do(self._world.store.lease(epoch, [(job.number, n)]))
        assert [lease.seq for lease in leases] == model.lease(epoch, n)
        for lease in leases:
            item = model.items[lease.seq]
            assert (lease.generation, lease.attempts) == (
                item.generation,
                item.attempts,
            )
            assert lease.payload == b'{"n":%d}' % lease.seq
        self._leases += [(epoch, lease) for lease in leases]

    @rule(n=st.integers(1, 5), ok=st.booleans())
    def record_held(self, n: int, *, ok: bool) -> None:
        """Record what is held by the owner of the oldest lease that is."""
        held = [
            (who, lease) for who, lease in self._leases if self._is_held(who, lease)
        ]
        self._record(
            [lease for who, lease in held if who == held[0][0]][:n], held, ok=ok
        )

    @precondition(lambda self: self._leases)
    @rule(picks=st.lists(pick, max_size=6), ok=st.booleans())
    def record_any(self, picks: list[int], *, ok: bool) -> None:
        """Record leases old and new, held and lost, some twice, of one owner."""
        wanted = [self._leases[k % len(self._leases)] for k in picks]
        group = [lease for who, lease in wanted if who == wanted[0][0]]
        self._record(group, wanted, ok=ok)

    def _record(
        self, group: list[Leased], of: list[tuple[int, Leased]], *, ok: bool
    ) -> None:
        epoch = of[0][0] if of else 0
        done = [
            costing(succeeded(lease) if ok else failed(lease), Usage(n, n), str(n))
            for n, lease in enumerate(group)
        ]
        recorded = self._do(self._world.store.record(epoch, done))
        # The first outcome of an item counts.
        held = [d for d in reversed(done) if self._is_held(epoch, d.lease)]
        expected = {d.lease.item: d for d in held}
        assert recorded.numbers.keys() == expected.keys()
        self._end(list(expected.values()))

    def _end(self, done: list[Finished]) -> None:
        touched = {id(m): m for m in (self._model(d.lease) for d in done)}
        for one in done:
            outcome = one.outcome
            model = self._model(one.lease)
            model.end(one.lease.seq, outcome.state, outcome.trace.attempts)
            model.spent += outcome.usage.input_tokens if outcome.usage else 0
        for model in touched.values():
            model.settle()

    @precondition(lambda self: self._leases)
    @rule(which=pick, attempts=st.integers(0, 3))
    def release(self, which: int, attempts: int) -> None:
        epoch, lease = self._leases[which % len(self._leases)]
        given = replace(lease, attempts=attempts)
        self._do(self._world.store.release(epoch, [given]))
        if self._is_held(epoch, lease):
            model = self._model(lease)
            model.requeue(lease.seq)
            model.items[lease.seq].attempts = attempts

    @rule(which=pick, times=st.integers(1, 2))
    def die(self, which: int, times: int) -> None:
        """Take items and die: every lease runs out, and what was held is rescued."""
        for _ in range(times):
            self.lease(0, which, 2)
            self._world.advance(LEASE_S + 1)
            self._dead.update(self._alive)
            self._alive.clear()
            rescued = self._do(self._world.store.rescue(MAX_RESCUES))
            models = [model for _, model in self._jobs]
            assert rescued == sum(m.rescue(self._dead, MAX_RESCUES) for m in models)

    @precondition(lambda self: self._alive)
    @rule(who=pick)
    def retire(self, who: int) -> None:
        epoch = self._alive.pop(who % len(self._alive))
        self._do(self._world.store.retire(epoch))
        for _, model in self._jobs:
            for seq, item in enumerate(model.items):
                if item.state == "running" and item.owner == epoch:
                    model.requeue(seq)

    @rule(which=pick)
    def reclaim(self, which: int) -> None:
        job, model = self._job(which)
        running = [k for k, item in enumerate(model.items) if item.state == "running"]
        assert self._do(self._world.store.reclaim(job.number)) == len(running)
        for seq in running:
            model.requeue(seq)
            model.items[seq].rescues += 1

    @rule(which=pick, ok=st.booleans())
    def complete(self, which: int, *, ok: bool) -> None:
        """Bring a job nearer to its end: run all that may run."""
        self.lease(MAX_OWNERS - 1, which, 10)
        for _ in range(MAX_OWNERS):
            self.record_held(10, ok=ok)
        if self._job(which)[1].allowed("conclude"):
            self.interfere(which, "conclude")

    @precondition(lambda self: any(m.allowed("retry") for _, m in self._jobs))
    @rule(n=st.integers(0, 2))
    def retry(self, n: int) -> None:
        """Retry a job that may be retried, and run some of it again."""
        ready = [k for k, (_, m) in enumerate(self._jobs) if m.allowed("retry")]
        self.interfere(ready[0], "retry")
        if n:
            self.lease(0, ready[0], n)

    @rule(which=pick, doing=interferences)
    def interfere(self, which: int, doing: str) -> None:
        job, model = self._job(which)
        arguments = ("operator",) if doing == "pause" else ()
        coroutine = getattr(self._world.store, doing)(job.number, *arguments)
        if model.allowed(doing):
            self._do(coroutine)
            getattr(model, doing)()
        else:
            self._do(_refused(coroutine))

    @rule()
    def sweep(self) -> None:
        self._do(sweep_all(self._world.store))
        for _, model in self._jobs:
            model.sweep()

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for job, model in self._jobs:
            found = self._do(seen(self._world.store, job))
            assert found.counts == model.counts()
            assert found.state is model.job_state()
            assert (found.input_tokens, found.output_tokens) == (model.spent,) * 2
            assert found.cost_usd == Decimal(model.spent)

    @invariant()
    def every_ended_item_has_one_outcome(self) -> None:
        for job, model in self._jobs:
            page = self._do(self._world.store.outcomes(job.number))
            numbers = [outcome.number for outcome in page]
            assert numbers == sorted(set(numbers))
            assert len({outcome.index for outcome in page}) == len(page)
            assert len(page) == model.counts().ended
            for outcome in page:
                assert outcome.state == model.items[outcome.index].state

    def teardown(self) -> None:
        for epoch in (*self._alive, *self._dead):
            self._do(self._world.store.retire(epoch))
        self._do(_leave(self._opening))
        self._runner.close()


async def _refused(coroutine: Coroutine[Any, Any, object]) -> None:
    await raises(WrongState, coroutine)


async def _leave(opening: AbstractAsyncContextManager[World]) -> None:
    await opening.__aexit__(None, None, None)
