"""A run under way: its engine, its output files, and what is shown of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from headrace.app import RouteTools, build_http_route, open_caching
from headrace.cli.reloading import reload_pool
from headrace.cli.runplan import RunPlan
from headrace.cli.showing import Shown
from headrace.clock import Clock
from headrace.engine.budgeting import StoreLedger
from headrace.engine.caching import Caching
from headrace.engine.meter import Meter
from headrace.engine.pool import Pool
from headrace.engine.session import Session, SessionTools
from headrace.engine.shutdown import Shutdown
from headrace.engine.vigil import Patience, Vigil
from headrace.errors import ConfigError, OutputError
from headrace.events import CacheStatistics, Event, Progress, TryFailed
from headrace.insight.attribution import Binding
from headrace.insight.tally import Tally
from headrace.jobs import Counts, Job
from headrace.jsonl.rendering import Rendering
from headrace.model import Outcome
from headrace.ports import Store

_FIRST_ANSWER_S = 10.0


class LiveTools(msgspec.Struct, frozen=True):
    """What a live run works with."""

    store: Store
    clock: Clock
    shutdown: Shutdown
    shown: Shown


class LiveRun:
    """Runs one job to its end, or until asked to stop.

    Args:
        plan: where the calls go.
        job: what to run.
        rendering: takes the outcomes, already in step with the store.
        tools: see there.
    """

    def __init__(
        self, plan: RunPlan, job: Job, rendering: Rendering, tools: LiveTools
    ) -> None:
        self._plan = plan
        self._job = job
        self._rendering = rendering
        self._tools = tools
        self.tally = Tally()
        self.binding = Binding()
        self.elapsed_s = 0.0
        self.cache: CacheStatistics | None = None
        """What the cache did, once the run is over; None without one."""
        self._counts = job.counts
        self._rows: list[tuple[int, Outcome]] = []
        self._arrived = asyncio.Event()
        self._output_error: OutputError | None = None
        self._session: Session | None = None
        self._meter: Meter | None = None
        self._pool: Pool | None = None

    @property
    def in_flight(self) -> int:
        """Calls under way now."""
        return self._meter.snapshot().in_flight if self._meter is not None else 0

    def reload(self, plan: RunPlan) -> list[str]:
        """Take over the endpoints of a plan that was made anew; tell what changed.

        Raises:
            ConfigError: one is refused; then all is as it was.
        """
        if self._pool is None:
            return []
        before, self._plan = self._plan, plan  # new endpoints have their keys from it
        try:
            return reload_pool(self._pool, plan.route(self._job.route).endpoints)
        except ConfigError:
            self._plan = before
            raise

    async def run(self) -> None:
        """Work; return when the job is over or the shutdown is complete.

        Raises:
            UpstreamDown, StoreError, OutputError: nothing is lost; resumable.
        """
        settings = self._plan.settings
        if settings.cache_rules is None:
            return await self._run(None)
        store, clock = self._tools.store, self._tools.clock
        caching = await open_caching(settings.cache_store, store, clock)
        try:
            await self._run(caching)
            self.cache = await caching.full_statistics(settings.price)
        finally:
            await caching.close()

    async def _run(self, caching: Caching | None) -> None:
        tools, settings = self._tools, self._plan.settings
        first_s = min(_FIRST_ANSWER_S, settings.patience)
        vigil = Vigil(tools.clock, Patience(first_s, settings.patience))
        route = build_http_route(
            self._plan.route(self._job.route),
            lambda endpoint: self._plan.key_of(endpoint),
            RouteTools(
                tools.clock, self._hear, vigil, caching, StoreLedger(tools.store)
            ),
        )
        self._pool = route.pool
        self._meter = Meter(route.gate, route.crew, tools.clock, self._count)
        if caching is not None:
            self._meter.cached = partial(caching.statistics, settings.price)
        if settings.has_prices:
            self._meter.cost_usd = self._job.cost_usd
        session_tools = SessionTools(
            tools.store,
            tools.clock,
            self,
            self._hear,
            tools.shutdown,
            {self._job.route: vigil},
        )
        self._session = Session([route.served], session_tools, self._job)
        try:
            await self._beside(self._session)
        finally:
            last = self._meter.snapshot()
            self.elapsed_s = last.elapsed_s
            tools.shown.progress(last)
            await route.close()
        if self._output_error is not None:
            raise self._output_error

    # ---- what the engine tells us (it takes us for its `Sink` and listener)

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        """Take outcomes that are safe; the last one's number is `number`."""
        assert self._meter is not None
        if job.number != self._job.number:
            return
        self._counts = job.counts
        first = number - len(outcomes) + 1
        for outcome in outcomes:
            self._meter.note(outcome)
            self.tally.add(outcome)
        self._rows += enumerate(outcomes, first)
        self._arrived.set()

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        """Return what is certain of the output."""
        return {self._job.number: self._rendering.mark}

    def _hear(self, event: Event) -> None:
        if isinstance(event, TryFailed) and self._session is not None:
            self._session.note_try(event)
        self._tools.shown.happened(event)

    def _count(self) -> Counts:
        return self._counts

    # ---- what goes on beside the engine

    async def _beside(self, session: Session) -> None:
        aside = [
            asyncio.create_task(self._render()),
            asyncio.create_task(self._show()),
        ]
        try:
            await session.run()
        finally:
            for task in aside:
                task.cancel()
            ends = await asyncio.gather(*aside, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _render(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            rows, self._rows = self._rows, []
            try:
                await self._rendering.add(rows)
            except OutputError as error:
                self._output_error = error
                self._tools.shutdown.draining.set()
                return

    async def _show(self) -> None:
        assert self._meter is not None
        clock, shown = self._tools.clock, self._tools.shown
        last: Progress | None = None
        while True:
            await clock.sleep(shown.interval_s)
            progress = self._meter.snapshot()
            since_s = last.elapsed_s if last is not None else 0.0
            self.binding.note(progress.binding, progress.elapsed_s - since_s)
            shown.progress(progress)
            last = progress
