"""Streams that stay open: they end once the key that opened them is good no more."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import TypeVar

from headrace.clock import Clock
from headrace.errors import HeadraceError, StoreError
from headrace.service.beside import beside
from headrace.service.keys import Keys

LOOK_S = 1.0
"""How often keys of open streams are looked at; what is read is up to 1 s old."""
_log = logging.getLogger("headrace.service")
T = TypeVar("T")


class KeyGone(HeadraceError):
    """The key that opened a stream is good no more; says why."""


class Visit:
    """One stream that stays open."""

    def __init__(self, key_id: str = "") -> None:
        self.key_id = key_id
        self._reason = ""
        self._wake: Callable[[], None] = _nothing

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Say how whoever waits for news is woken when the visit ends."""
        self._wake = wake
        if self._reason:
            wake()

    def end(self, reason: str) -> None:
        """The key is good no more."""
        self._reason = reason
        self._wake()

    async def guard(self, stream: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        """Give what a stream gives, until the visit ends.

        Raises:
            KeyGone: it has ended.
        """
        async with aclosing(stream) as given:
            async for each in given:
                if self._reason:
                    break
                yield each
        if self._reason:
            raise KeyGone(self._reason)


class KeyWatch:
    """Looks after the keys of open streams.

    Args:
        keys: of the store.
        clock: time.
    """

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._visits: set[Visit] = set()

    @contextmanager
    def visiting(self, key_id: str) -> Iterator[Visit]:
        """Keep a stream open while the block lasts; "" is whoever came without a key."""
        visit = Visit(key_id)
        self._visits.add(visit)
        try:
            yield visit
        finally:
            self._visits.discard(visit)

    def kept(self) -> AbstractAsyncContextManager[None]:
        """End visits whose keys are gone, while the block lasts."""
        return beside(self._run())

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self.look()
            except StoreError as error:
                _log.warning("keys are not looked at for a while: %s", error)

    async def look(self) -> None:
        """End the visits whose keys are good no more."""
        for key_id in {visit.key_id for visit in self._visits}:
            reason = await self._keys.why_not(key_id)
            if reason:
                for visit in [v for v in self._visits if v.key_id == key_id]:
                    visit.end(reason)


def _nothing() -> None:
    pass
