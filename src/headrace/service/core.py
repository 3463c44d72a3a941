"""The service itself: what its routers share, opened and closed together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace import durable
from headrace.clock import Clock
from headrace.config import ServeSettings
from headrace.durable import Headrace
from headrace.files.opening import open_files
from headrace.model import Endpoint, Retry
from headrace.ports import Files
from headrace.ports.tracing import Tracing
from headrace.routes import HttpRoute
from headrace.routes import Keys as EndpointKeys
from headrace.service.keychores import KeyChores
from headrace.service.keydoor import Door
from headrace.service.keyroom import KeyRoom
from headrace.service.keywatch import KeyWatch
from headrace.service.openai.batchbook import BatchBook
from headrace.service.openai.batchcourse import CourseTools
from headrace.service.openai.batchinput import InputLimits
from headrace.service.openai.batchkeeper import Batches
from headrace.service.openai.filestore import FileStore
from headrace.service.openai.models import Models
from headrace.service.openai.uploadstore import Uploads
from headrace.service.operations.metrics import Metrics
from headrace.service.operations.retention import Retention
from headrace.service.operations.trylog import TryLog
from headrace.service.principal import Principal
from headrace.service.repeats import Repeats
from headrace.service.stream.hub import Hub
from headrace.service.veil import NO_VEIL, Veil
from headrace.terms import CacheRules, Hedge

ROUTE = "openai"
"""The route whose endpoints the service calls."""


class Service:
    """What the routers of one process share; made by `open_service`.

    Args:
        home: the store, and the routes that this process serves.
        settings: as they were at the start.
        clock: time and chance.
        files: the bytes of files.
        room: the keys of the store.
    """

    def __init__(
        self,
        home: Headrace,
        settings: ServeSettings,
        clock: Clock,
        files: Files,
        room: KeyRoom,
    ) -> None:
        self.home = home
        self.settings = settings
        self.clock = clock
        self.files = files
        self.keys = room.keys
        self.watch = KeyWatch(self.keys, clock)
        self.keybook = room.book
        self.door = Door(room.keyed, clock)
        self.chores = KeyChores(home, room, clock)
        self.repeats = Repeats(home.store.documents(), clock)
        self.filestore = FileStore(home.store.documents(), files, clock)
        self.uploads = Uploads(home.store.documents(), files, self.filestore, clock)
        limits = InputLimits(settings.max_batch_lines, settings.max_line_bytes)
        self.batches = Batches(_batch_tools(home, clock, self.filestore, limits))
        self.hub = Hub(home, clock)
        self.metrics = Metrics()
        self.models = Models(home, ROUTE, clock)

    def veil_for(self, who: Principal) -> Veil:
        """Return what takes out of failures what this one may not see."""
        return NO_VEIL if who.sees is None else _veil(self.home)


@asynccontextmanager
async def open_service(
    settings: ServeSettings,
    keys: EndpointKeys,
    clock: Clock,
    tracing: Tracing | None = None,
) -> AsyncIterator[Service]:
    """Open the store and serve its route while the block lasts.

    Args:
        settings: what to serve.
        keys: gives the key of an endpoint.
        clock: time and chance.
        tracing: makes spans of the calls.

    Raises:
        StoreError: the database cannot be used.
        ConfigError: an endpoint is refused.
    """
    room = KeyRoom(clock)
    home = durable.open(
        settings.store,
        [served_route(settings)],
        cache_store=settings.cache_store,
        clock=clock,
        keys=keys,
        tracing=tracing,
        make_keyed=room,
    )
    async with home:
        files = await open_files(settings.store, home.store.file_pieces())
        service = Service(home, settings, clock, files, room)
        home.changes.watch(service.metrics)
        home.changes.watch(TryLog(clock))
        store, keep_days = home.store, settings.keep_days
        retention = Retention(store, service.filestore, clock, keep_days)
        try:
            async with (
                service.filestore.tidied(service.batches.inputs, service.uploads.tidy),
                service.batches.kept(),
                service.hub.running(),
                service.watch.kept(),
                service.chores.kept(),
                retention.kept(),
            ):
                yield service
        finally:
            await files.close()


def _batch_tools(
    home: Headrace, clock: Clock, files: FileStore, limits: InputLimits
) -> CourseTools:
    book = BatchBook(home.store.documents())
    return CourseTools(home, book, files, clock, ROUTE, limits, lambda: _veil(home))


def _veil(home: Headrace) -> Veil:
    return Veil(home.endpoints(ROUTE).endpoints)


def served_route(settings: ServeSettings) -> HttpRoute:
    """Return the route that these settings describe."""
    own_env = settings.api_key_env or None
    endpoints = tuple(
        Endpoint(url, url, own_env, settings.header, settings.limits)
        for url in settings.base_url
    )
    return HttpRoute(
        ROUTE,
        endpoints + settings.endpoint,
        settings.dialect,
        Retry(max_attempts=settings.max_attempts),
        settings.timeout,
        strategy=settings.strategy,
        fallbacks=settings.fallback,
        prices=settings.price,
        cache=CacheRules(ttl_s=settings.cache_ttl) if settings.cache else None,
        hedge=Hedge() if settings.hedge else None,
        max_waiting=settings.max_queued,
    )
