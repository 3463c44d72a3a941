"""The Python face on a store: jobs that survive their process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from headrace.app import (
    BuiltRoute,
    RouteTools,
    build_function_route,
    build_http_route,
    open_caching,
)
from headrace.changes import Changes
from headrace.clock import Clock, SystemClock
from headrace.directcalls import Asker, DirectCalls
from headrace.engine.budgeting import StoreLedger
from headrace.engine.caching import Caching
from headrace.engine.gate import Gate
from headrace.engine.keyed import Keyed
from headrace.engine.pool import Pool
from headrace.engine.session import Session, SessionTools
from headrace.engine.shedding import Shedding
from headrace.engine.shutdown import Shutdown
from headrace.engine.vigil import SERVED_PATIENCE, Vigil
from headrace.errors import ConfigError, NotFound
from headrace.events import CacheStatistics, Event, JobMoved, TryFailed
from headrace.jobhandle import JobHandle
from headrace.jobs import FailurePolicy, Job, NewJob
from headrace.model import Outcome, Priority, Reply
from headrace.payloads import Payloads
from headrace.ports import Store
from headrace.ports.tracing import Tracing
from headrace.routes import FunctionRoute, HttpRoute, Keys, key_of
from headrace.stores.opening import open_store
from headrace.submitting import Submissions

Route = HttpRoute | FunctionRoute
MakeKeyed = Callable[[Store], Keyed]
"""Makes what binds calls by the keys of a service, once its store is open."""


class Options(msgspec.Struct, frozen=True):
    """How a store is opened; see `open`."""

    cache_store: str
    max_queued: int | None
    keys: Keys
    tracing: Tracing | None = None
    make_keyed: MakeKeyed | None = None


class Headrace:
    """A store and the routes that this process serves; made by `open`.

    Without routes it only submits and watches: other processes do the work.
    """

    def __init__(
        self, where: str, routes: Sequence[Route], clock: Clock, options: Options
    ) -> None:
        self._where = where
        self._options = options
        self._max_queued = options.max_queued
        self._caching: Caching | None = None
        self._routes = {route.name: route for route in routes}
        if len(self._routes) != len(routes):
            raise ConfigError("two routes bear the same name")
        self._clock = clock
        self._shutdown = Shutdown()
        self._served: dict[str, BuiltRoute] = {}
        self._session: Session | None = None
        self._working: asyncio.Task[None] | None = None
        self.changes = Changes()
        """Tells whoever wants to know what this process does."""
        self.direct = DirectCalls(self._served, self.changes)
        self.store: Store
        self._submissions: Submissions

    async def __aenter__(self) -> Headrace:
        self.store = await open_store(self._where, self._clock)
        self._submissions = Submissions(self.store, self._clock)
        try:
            if any(route.cache is not None for route in self._routes.values()):
                place = self._options.cache_store
                self._caching = await open_caching(place, self.store, self._clock)
            self._start()
        except BaseException:
            await self._close()
            raise
        return self

    def _start(self) -> None:
        tools = RouteTools(
            self._clock,
            self._hear,
            caching=self._caching,
            tracing=self._options.tracing,
            keyed=self._options.make_keyed and self._options.make_keyed(self.store),
        )
        vigils: dict[str, Vigil] = {}
        for name, route in self._routes.items():
            if isinstance(route, HttpRoute):
                vigils[name] = Vigil(self._clock, SERVED_PATIENCE)
                watched = msgspec.structs.replace(
                    tools, vigil=vigils[name], ledger=StoreLedger(self.store)
                )
                self._served[name] = build_http_route(
                    route, self._options.keys, watched
                )
            else:
                self._served[name] = build_function_route(route, tools)
        for built in self._served.values():
            if self._max_queued is not None and built.gate.shedding is None:
                built.gate.shedding = Shedding()
        if self._served:
            session_tools = SessionTools(
                self.store, self._clock, self, self._hear, self._shutdown, vigils
            )
            if len(vigils) == len(self._routes):
                session_tools = session_tools.for_http()
            served = [built.served for built in self._served.values()]
            self._session = Session(served, session_tools)
            self._working = asyncio.create_task(self._session.run())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop at once: what runs is put back, and goes on at the next opening."""
        self._shutdown.request()
        self._shutdown.request()
        try:
            if self._working is not None:
                await asyncio.wait([self._working])
                if error is None and self._working.exception() is not None:
                    await self._working
        finally:
            await self._close()

    async def drain(self, wait_s: float) -> bool:
        """Start no more items of jobs, and wait until those under way have ended.

        Calls of `call` go on. What has not ended by then goes on at the next opening.

        Returns:
            Did all of them end within `wait_s`?
        """
        self.changes.end()
        if self._working is None:
            return True
        if not self._shutdown.draining.is_set():
            self._shutdown.request()
        _, running = await asyncio.wait([self._working], timeout=wait_s)
        return not running

    async def wait_over(self) -> None:
        """Wait until this process works on its jobs no more.

        Raises:
            StoreError: it cannot; what is not recorded goes on at the next opening.
        """
        if self._working is not None:
            await asyncio.shield(self._working)

    async def _close(self) -> None:
        if self._caching is not None:
            await self._caching.close()
        for built in self._served.values():
            await built.close()
        await self.store.close()

    def cache_statistics(self) -> CacheStatistics | None:
        """Return what the cache of the routes saved so far; None without one."""
        prices = [p for r in self._routes.values() for p in getattr(r, "prices", ())]
        if self._caching is None:
            return None
        return self._caching.statistics(tuple(prices))

    async def submit(  # noqa: PLR0913  a face: all but two are named options
        self,
        items: Payloads,
        route: str,
        *,
        priority: str = "normal",
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
        on_failure: str = "keep",
        tenant: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> JobHandle:
        """Store items as a job and let it run; all of them or none.

        Args:
            items: payloads, or `Item`s with a name of their own (default: the index).
                For an HTTP route a payload is an `HttpRequest` or a mapping with `url`,
                `body` and perhaps `method`, `custom_id`, `cache` (False refuses an answer
                that is kept); for a function any JSON value.
            route: who answers them; need not be served by this process.
            priority: low, normal, high or urgent.
            idempotency_key: submitting again under the same key returns the first job.
            deadline_s: what has not finished so many seconds from now expires.
            on_failure: `keep`, `all` (the first failure ends the job) or a share.
            tenant: jobs of different tenants share fairly.
            metadata: kept with the job.

        Raises:
            ValueError: an argument or item is refused.
            DuplicateItem: a `custom_id` stands twice.
            QueueFull: more items would wait than may; says when to try again.
            BeingSubmitted: another one submits under the same key now.
        """
        new = NewJob(
            route=route,
            priority=Priority.parse(priority),
            idempotency_key=idempotency_key,
            deadline_s=deadline_s,
            on_failure=FailurePolicy.parse(on_failure),
            tenant=tenant,
            metadata=dict(metadata or {}),
        )
        check = None if self._max_queued is None else self._check_queue
        job, is_new = await self._submissions.submit(new, items, check)
        if is_new:
            self.look()
        return JobHandle(self, job)

    async def call(
        self,
        payload: Any,
        route: str,
        *,
        priority: str = "high",
        tenant: str = "",
        deadline_s: float | None = None,
    ) -> Outcome:
        """Make one call at once and return its outcome; the store never sees it.

        It goes through the same gate and layers as the items of jobs, and spends no
        job's budget. A failure is an outcome, not an exception; its `value` is what a
        function returned, or bytes over HTTP.

        Args:
            payload: as one of `submit`.
            route: one that this process serves.
            priority: low, normal, high or urgent.
            tenant: shares fairly with others, and with the jobs of this one.
            deadline_s: seconds after which it expires, waits and tries included, > 0.

        Raises:
            ConfigError: this process does not serve the route.
            ValueError, TypeError: an argument or the payload is refused.
        """
        urgency = Priority.parse(priority)
        asker = Asker(tenant)
        return await self.direct.outcome(payload, route, urgency, asker, deadline_s)

    async def ask(
        self,
        payload: Any,
        route: str,
        *,
        priority: str = "high",
        tenant: str = "",
        deadline_s: float | None = None,
        key: str = "",
    ) -> Reply:
        """Make one call at once and return its reply as it comes; as `call` otherwise.

        A streamed reply owns its permits until its `chunks` end, fail or are closed: who
        stops before the end must call their `aclose`. It is tried again only before its
        first byte, and `deadline_s` counts until then. `key` is the service's key whose
        budget pays for it.

        Raises:
            CallError: it failed for good; holds the provider's answer if there was one.
            Rejected: it was never sent, such as `QueueFull`.
            ConfigError, ValueError, TypeError: as `call`.
        """
        urgency = Priority.parse(priority)
        asker = Asker(tenant, key)
        return await self.direct.reply(payload, route, urgency, asker, deadline_s)

    def endpoints(self, route: str) -> Pool:
        """Return the endpoints of a route, to add, drain, remove and weigh them anew.

        Changes hold while this block lasts, and lose no call.

        Raises:
            ConfigError: this process does not serve the route.
        """
        return self.direct.built(route).pool

    def gates(self) -> Mapping[str, Gate]:
        """Return who lets the calls of each served route go, to look at."""
        return {name: built.gate for name, built in self._served.items()}

    def trouble(self) -> str:
        """Return why this process works on jobs no more; "" while it does."""
        if self._shutdown.draining.is_set():
            return "it is stopping"
        work = self._working
        return "it has ended" if work is not None and work.done() else ""

    async def job(self, ref: str) -> JobHandle:
        """Return the job with that id or name.

        Raises:
            NotFound: there is none.
        """
        job = await self.store.job(ref)
        if job is None:
            raise NotFound(f"there is no job {ref!r} in {self._where}")
        return JobHandle(self, job)

    async def go_on(self) -> int:
        """Let jobs go on that a refused key has paused; return how many there were.

        For when the key is another one. At the start it is done without asking.
        """
        return 0 if self._session is None else await self._session.resume_jobs()

    def look(self) -> None:
        """There may be new work in the store."""
        if self._session is not None:
            self._session.look()

    async def _check_queue(self, route: str) -> None:
        """Refuse items behind which more would wait than may."""
        queued, most = await self.store.queued([route]), self._max_queued
        if most is not None and queued > most:
            now = self._clock.monotonic()
            raise self.direct.refusal(route, queued, most, now)

    def _hear(self, event: Event) -> None:
        if isinstance(event, TryFailed):
            self.changes.tell_tried(event)
            if self._session is not None:
                self._session.note_try(event)
        elif isinstance(event, JobMoved):
            self.changes.tell_moved(event.job_id, None)

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        """Outcomes are safe: wake who watches."""
        self.changes.tell_recorded(job, outcomes)

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        """There are no output files here."""
        return {}

    async def wait_change(self) -> None:
        """Wait until something may have changed, at most a second.

        Raises:
            StoreError: this process can work no more; nothing is lost.
        """
        if self._working is not None and self._working.done():
            await self._working
        await self.changes.wait()


def open(  # noqa: PLR0913  a face: all but two are named options
    where: str | os.PathLike[str] = "headrace.db",
    routes: Sequence[Route] = (),
    *,
    cache_store: str = "",
    max_queued: int | None = None,
    clock: Clock | None = None,
    keys: Keys | None = None,
    tracing: Tracing | None = None,
    make_keyed: MakeKeyed | None = None,
) -> Headrace:
    """Open a store, and serve routes from it while the block lasts.

    Args:
        where: a SQLite path, or `postgresql://…`.
        routes: what this process answers; none to submit and watch only.
        cache_store: where the answers of routes with a `cache` are kept: empty for beside
            the jobs, `memory`, or `redis://…`.
        max_queued: items of one route that may wait in the store, whoever submitted them;
            a submit beyond is refused as a whole. None = any number.
        clock: time and chance.
        keys: gives an endpoint's key; by default the environment does.
        tracing: makes spans of the calls.
        make_keyed: see there; for a service.

    Raises (on entering):
        StoreError: the database cannot be used; says why and what to do.
        ConfigError: a route is refused.
    """
    options = Options(cache_store, max_queued, keys or key_of, tracing, make_keyed)
    return Headrace(os.fspath(where), routes, clock or SystemClock(), options)
