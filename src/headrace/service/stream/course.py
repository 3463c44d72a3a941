"""What one client is told, from the first snapshot to the end; the same over SSE and
WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from headrace.errors import NotFound
from headrace.ports import Jobs
from headrace.service.core import Service
from headrace.service.keywatch import Visit
from headrace.service.openai.batch import KIND
from headrace.service.principal import Principal
from headrace.service.stream.hub import RECENT, Hub, Look
from headrace.service.stream.views import (
    View,
    item_body,
    view_of_batch,
    view_of_job,
)
from headrace.service.veil import NO_VEIL, Veil

HEARTBEAT_S = 15.0
"""A client hears something at least so often."""
_PAGE = 200


class Told(msgspec.Struct, frozen=True):
    """One event.

    Args:
        kind: `snapshot` (the first), `job`, `batch`, `item`; "" for a sign of life.
        id: where to go on after; "" for a sign of life.
        body: its JSON, in one line.
        is_end: is it the last of a job or batch?
    """

    kind: str
    id: str = ""
    body: bytes = b""
    is_end: bool = False


ALIVE = Told("")


class Asked(msgspec.Struct, frozen=True):
    """What one client asks to be told.

    Args:
        last_id: of the last event it has seen; "" for none.
        items: also how each item ended.
        veil: takes out of them what the client may not see.
    """

    last_id: str = ""
    items: bool = False
    veil: Veil = NO_VEIL

    def after(self, id: str) -> int:
        """Return the version of `id` that the client has seen last; 0 for none."""
        name, _, number = self.last_id.rpartition(":")
        is_number = number.isascii() and number.isdigit() and len(number) <= 18
        return int(number) if name == id and is_number else 0


async def job_look(service: Service, who: Principal, ref: str) -> Look:
    """Return how a job is read anew.

    Raises:
        NotFound: this tenant has none of that id.
    """
    job = await service.home.store.job(ref)
    if job is None or who.sees not in (None, job.tenant) or ref != job.id:
        raise NotFound(f"there is no job {ref[:64]!r}")
    number = job.number

    async def look() -> View | None:
        found = await service.home.store.job(number)
        return None if found is None else view_of_job(found)

    return look


async def batch_look(service: Service, who: Principal, id: str) -> Look:
    """Return how a batch is read anew.

    Raises:
        NotFound: this tenant has none of that id.
    """
    documents, store = service.home.store.documents(), service.home.store
    await service.batches.get(id, who.sees)

    async def look() -> View | None:
        # Versions first: what is read after them can only be newer than they say.
        document = await documents.document(KIND, id)
        if document is None:
            return None
        batch = await service.batches.get(id, who.sees)
        job = await store.job(batch.job or batch.job_name)
        batch = await service.batches.get(id, who.sees)
        return view_of_batch(batch, document.version, job)

    return look


def has_seen_the_end(first: View, asked: Asked) -> bool:
    """Has a client nothing more to learn?"""
    return first.has_ended and asked.after(first.id) >= first.version > 0


async def course_of_one(
    hub: Hub, store: Jobs, look: Look, asked: Asked, visit: Visit
) -> AsyncGenerator[Told, None]:
    """Tell of one job or batch: how it stands, then its changes, until it has ended.

    With items, those that ended after the last event seen come before the view that
    counts them; so that event's id is a place from which nothing is missed.

    Raises:
        NotFound: it is gone.
        TooSlow: the client must come again.
    """
    first = await look()
    if first is None:
        raise NotFound("it is gone")
    items = _Items(store, first, asked)
    with hub.one(first.id, look, first) as listener:
        visit.wake_by(listener.end)
        yield Told("snapshot", items.start, first.body, items.are_none_of(first))
        async for told in items.until(first):
            yield told
        if first.has_ended and asked.items:
            yield Told(first.kind, first.event_id, first.body, is_end=True)
        view = first
        while not view.has_ended:
            views = await listener.take(HEARTBEAT_S)
            if views is None:
                return
            if not views:
                yield ALIVE
                continue
            view = views[-1]
            async for told in items.until(view):
                yield told
            yield Told(view.kind, view.event_id, view.body, view.has_ended)


async def course_of_all(
    hub: Hub, store: Jobs, who: Principal, visit: Visit
) -> AsyncGenerator[Told, None]:
    """Tell of all jobs of a tenant: the most recent ones, then all changes.

    Raises:
        TooSlow: the client must come again.
    """
    with hub.all(who.sees) as listener:
        visit.wake_by(listener.end)
        seen = who.sees
        jobs = [j for j in await store.jobs(RECENT) if seen in (None, j.tenant)]
        views = [view_of_job(job) for job in reversed(jobs)]
        body = b'{"object":"list","data":[' + b",".join(v.body for v in views) + b"]}"
        yield Told("snapshot", views[-1].event_id if views else "", body)
        told = {view.id: view.version for view in views}
        while (news := await listener.take(HEARTBEAT_S)) is not None:
            if not news:
                yield ALIVE
            for view in news:
                if view.version > told.pop(view.id, -1):
                    yield Told(view.kind, view.event_id, view.body)


class _Items:
    """Reads how the items of a job ended, each once, in order; if they are asked for."""

    def __init__(self, store: Jobs, first: View, asked: Asked) -> None:
        self._store = store
        self._id = first.id
        self._wanted = asked.items
        self._veil = asked.veil
        self._number = asked.after(first.id)
        self.start = f"{first.id}:{self._number}" if asked.items else first.event_id
        """The place from which nothing was told yet."""

    def are_none_of(self, first: View) -> bool:
        """Is the first view the last as well?"""
        return first.has_ended and not self._wanted

    async def until(self, view: View) -> AsyncIterator[Told]:
        """Give those that the view counts and that were not given yet."""
        if not self._wanted:
            return
        job = await self._store.job(view.job_id)
        while job is not None:
            page = await self._store.outcomes(job.number, self._number, _PAGE)
            for outcome in page:
                if outcome.number > view.version:
                    return
                self._number = outcome.number
                body = item_body(self._veil.outcome(outcome))
                yield Told("item", f"{self._id}:{self._number}", body)
            if len(page) < _PAGE:
                return
