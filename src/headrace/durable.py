"""The Python face on a store: jobs that survive their process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any

import msgspec

from headrace.app import (
    BuiltRoute,
    FunctionRoute,
    HttpRoute,
    RouteTools,
    build_function_route,
    build_http_route,
    open_caching,
)
from headrace.clock import Clock, SystemClock
from headrace.engine.caching import Caching
from headrace.engine.session import Session, SessionTools
from headrace.engine.shutdown import Shutdown
from headrace.engine.vigil import Vigil
from headrace.errors import ConfigError, NotFound
from headrace.events import CacheStatistics, Event, JobMoved, TryFailed
from headrace.jobs import JOB_ENDS, FailurePolicy, Job, NewItem, NewJob
from headrace.model import Endpoint, Outcome, Priority
from headrace.ports import Store
from headrace.stores.opening import open_store
from headrace.wire import HttpRequest, encode_request, request_of

_BATCH = 2_000
_PAGE = 500
_LOOK_S = 1.0
"""How often a watcher looks for what other processes did."""


class Item(msgspec.Struct, frozen=True):
    """A payload with the user's own name for it."""

    payload: Any
    custom_id: str


Route = HttpRoute | FunctionRoute
Payloads = Iterable[Any] | AsyncIterable[Any]


class Headrace:
    """A store and the routes that this process serves; made by `open`.

    Without routes it only submits and watches: other processes do the work.
    """

    def __init__(
        self, where: str, routes: Sequence[Route], clock: Clock, cache_store: str
    ) -> None:
        self._where = where
        self._cache_store = cache_store
        self._caching: Caching | None = None
        self._routes = {route.name: route for route in routes}
        if len(self._routes) != len(routes):
            raise ConfigError("two routes bear the same name")
        self._clock = clock
        self._shutdown = Shutdown()
        self._built: list[BuiltRoute] = []
        self._session: Session | None = None
        self._working: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self.store: Store

    async def __aenter__(self) -> Headrace:
        self.store = await open_store(self._where, self._clock)
        try:
            if any(route.cache is not None for route in self._routes.values()):
                place = self._cache_store
                self._caching = await open_caching(place, self.store, self._clock)
            self._start()
        except BaseException:
            await self._close()
            raise
        return self

    def _start(self) -> None:
        tools = RouteTools(self._clock, self._hear, caching=self._caching)
        vigils: dict[str, Vigil] = {}
        for name, route in self._routes.items():
            if isinstance(route, HttpRoute):
                vigils[name] = Vigil(self._clock)
                watched = msgspec.structs.replace(tools, vigil=vigils[name])
                self._built.append(build_http_route(route, key_of, watched))
            else:
                self._built.append(build_function_route(route, tools))
        if self._built:
            session_tools = SessionTools(
                self.store, self._clock, self, self._hear, self._shutdown, vigils
            )
            served = [built.served for built in self._built]
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

    async def _close(self) -> None:
        if self._caching is not None:
            await self._caching.close()
        for built in self._built:
            await built.close()
        await self.store.close()

    def cache_statistics(self) -> CacheStatistics | None:
        """Return what the cache of the routes saved so far; None without one."""
        prices = [p for r in self._routes.values() for p in getattr(r, "prices", ())]
        return self._caching and self._caching.statistics(tuple(prices))

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
        job, is_new = await self.store.create(new)
        if is_new:
            try:
                await self._fill(job, items)
                job = await self.store.seal(job.number)
            except BaseException:
                await self.store.remove(job.number)
                raise
            self.look()
        return JobHandle(self, job)

    async def job(self, ref: str) -> JobHandle:
        """Return the job with that id or name.

        Raises:
            NotFound: there is none.
        """
        job = await self.store.job(ref)
        if job is None:
            raise NotFound(f"there is no job {ref!r} in {self._where}")
        return JobHandle(self, job)

    def look(self) -> None:
        """There may be new work in the store."""
        if self._session is not None:
            self._session.look()

    async def _fill(self, job: Job, items: Payloads) -> None:
        batch: list[NewItem] = []
        index = 0
        async for item in _each(items):
            batch.append(_new_item(item, index))
            index += 1
            if len(batch) == _BATCH:
                await self.store.add(job.number, batch)
                batch = []
        if batch:
            await self.store.add(job.number, batch)

    # ---- what the session tells

    def _hear(self, event: Event) -> None:
        if isinstance(event, TryFailed) and self._session is not None:
            self._session.note_try(event)
        elif isinstance(event, JobMoved):
            self._ring()

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        """Outcomes are safe: wake who watches."""
        self._ring()

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        """There are no output files here."""
        return {}

    def _ring(self) -> None:
        """Wake everyone who waits for a change."""
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    async def wait_change(self) -> None:
        """Wait until something may have changed, at most a second.

        Raises:
            StoreError: this process can work no more; nothing is lost.
        """
        if self._working is not None and self._working.done():
            await self._working
        bell = self._bell
        timer = asyncio.get_running_loop().call_later(_LOOK_S, bell.set)
        try:
            await bell.wait()
        finally:
            timer.cancel()


class JobHandle:
    """One job, to watch and to steer."""

    def __init__(self, home: Headrace, job: Job) -> None:
        self._home = home
        self.job = job
        """As it was when last looked at; `refresh` looks again."""

    @property
    def id(self) -> str:
        return self.job.id

    async def refresh(self) -> Job:
        """Look at the job again.

        Raises:
            NotFound: it has been removed.
        """
        job = await self._home.store.job(self.job.number)
        if job is None:
            raise NotFound(f"job {self.id} has been removed")
        self.job = job
        return job

    async def progress(self) -> AsyncGenerator[Job, None]:
        """Yield the job now and whenever it has changed, until it has ended."""
        seen = -1
        while True:
            job = await self.refresh()
            if job.version != seen:
                seen = job.version
                yield job
            if job.state in JOB_ENDS:
                return
            await self._home.wait_change()

    async def outcomes(self, after: int = 0) -> AsyncGenerator[Outcome, None]:
        """Yield outcomes in the order they were recorded, until the job has ended.

        Args:
            after: `Outcome.number` to go on after; nothing is skipped or seen twice.
        """
        while True:
            ended = (await self.refresh()).state in JOB_ENDS
            page = await self._home.store.outcomes(self.job.number, after, _PAGE)
            for outcome in page:
                yield outcome
            if page:
                after = page[-1].number
            elif ended:
                return
            else:
                await self._home.wait_change()

    async def wait(self) -> Job:
        """Wait until the job has ended; return it."""
        async for _ in self.progress():
            pass
        return self.job

    async def cancel(self) -> Job:
        """Cancel what has not ended; what has, stays."""
        self.job = await self._home.store.cancel(self.job.number)
        while await self._home.store.sweep():
            pass
        return self.job

    async def pause(self, reason: str = "operator") -> Job:
        """Start no more of its items."""
        self.job = await self._home.store.pause(self.job.number, reason)
        return self.job

    async def resume(self) -> Job:
        """Go on with a paused job."""
        self.job = await self._home.store.resume(self.job.number)
        self._home.look()
        return self.job

    async def retry(self) -> int:
        """Run what failed, expired or was cancelled again; return how many items."""
        count = await self._home.store.retry(self.job.number)
        self._home.look()
        return count


def open(
    where: str | os.PathLike[str] = "headrace.db",
    routes: Sequence[Route] = (),
    *,
    cache_store: str = "",
    clock: Clock | None = None,
) -> Headrace:
    """Open a store, and serve routes from it while the block lasts.

    Args:
        where: a SQLite path, or `postgresql://…`.
        routes: what this process answers; none to submit and watch only.
        cache_store: where the answers of routes with a `cache` are kept: empty for beside
            the jobs, `memory`, or `redis://…`.
        clock: time and chance.

    Raises (on entering):
        StoreError: the database cannot be used; says why and what to do.
        ConfigError: a route is refused.
    """
    return Headrace(os.fspath(where), routes, clock or SystemClock(), cache_store)


def key_of(endpoint: Endpoint) -> str | None:
    """Return an endpoint's key from the environment; None if it needs none.

    Raises:
        ConfigError: the variable it names is not set.
    """
    if endpoint.key_env is None:
        return None
    key = os.environ.get(endpoint.key_env)
    if not key:
        raise ConfigError(
            f"endpoint {endpoint.name} takes its key from the environment variable "
            f"{endpoint.key_env}, which is not set"
        )
    return key


async def _each(items: Payloads) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _new_item(item: Any, index: int) -> NewItem:
    custom_id = str(index)
    if isinstance(item, Item):
        item, custom_id = item.payload, item.custom_id
    if isinstance(item, Mapping) and "url" in item and "body" in item:
        custom_id = str(item.get("custom_id", custom_id))
        item = request_of(item)
    if isinstance(item, HttpRequest):
        return NewItem(custom_id, encode_request(item))
    return NewItem(custom_id, msgspec.json.encode(item))
