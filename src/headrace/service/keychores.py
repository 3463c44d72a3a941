"""What is done for keys beside the requests, once a second."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from headrace.clock import Clock
from headrace.durable import Headrace
from headrace.engine.keypurses import OF_KEY
from headrace.errors import StoreError, WrongState
from headrace.jobs import JOB_ENDS, JobState
from headrace.service.beside import beside
from headrace.service.keybook import Waiting
from headrace.service.keyroom import KeyRoom

_EVERY_S = 1.0
_USE_S = 60.0
"""Later uses of a key within this time are not written."""
_MOST_NOTED = 10_000
_log = logging.getLogger("headrace.service")


class KeyChores:
    """Gives unused money back, lets jobs go on that waited for some, notes who came.

    Args:
        home: the jobs.
        room: the keys.
        clock: time.
    """

    def __init__(self, home: Headrace, room: KeyRoom, clock: Clock) -> None:
        self._home = home
        self._keys = room.keys
        self._book = room.book
        self._keyed = room.keyed
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._after: int | None = None

    def note_use(self, key_id: str) -> None:
        """A request came with this key; written later."""
        self._used[key_id] = self._clock.utc()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Do it while the block lasts; at its end unused money goes back."""
        try:
            async with beside(self._run()):
                yield
        finally:
            try:
                await self._keyed.purses.tidy(all_of_it=True)
                await self._write_uses()
            except StoreError as error:
                _log.warning("what was drawn for keys stays spent: %s", error)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(_EVERY_S)
            try:
                await self._keyed.purses.tidy()
                await self._write_uses()
                await self._look_around()
            except StoreError as error:
                _log.warning("keys are not looked after for a while: %s", error)

    async def _write_uses(self) -> None:
        used, self._used = self._used, {}
        if len(self._noted) > _MOST_NOTED:
            self._noted.clear()
        for key_id, at in used.items():
            if at - self._noted.get(key_id, 0.0) >= _USE_S:
                self._noted[key_id] = at
                await self._book.note_use(key_id, at)

    async def _look_around(self) -> None:
        """Look at the next page of jobs that wait for money, then again at the first."""
        page = await self._book.waiting(self._after)
        for _, waiting in page:
            await self._look_at(waiting)
        self._after = page[-1][0] if page else None

    async def _look_at(self, waiting: Waiting) -> None:
        """Let a job go on if its key may pay for its next call."""
        job = await self._home.store.job(waiting.job)
        if job is None or job.state in JOB_ENDS:
            await self._book.forget(waiting)
            return
        is_ours = job.pause_reason.startswith(OF_KEY)
        if job.state is not JobState.PAUSED or not is_ours:
            return  # it goes on, and may have to wait again
        terms = await self._keys.terms(waiting.key)
        if terms is not None and terms.budget is not None:
            left = await self._keyed.purses.left(waiting.key, terms.budget)
            if left < waiting.nano:
                return
        self._keyed.know(waiting.key, terms)
        with suppress(WrongState):
            job = await self._home.store.resume(job.number)
            self._home.changes.tell_moved(job.id, job)
            self._home.look()
