"""What a service knows of keys, made as soon as its store is open."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.engine.keyed import Keyed
from headrace.ports import Store
from headrace.service.keybook import KeyBook
from headrace.service.keys import Keys


class KeyRoom:
    """The keys of a store; calling it gives what binds their calls.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.keys: Keys
        self.book: KeyBook
        self.keyed: Keyed

    def __call__(self, store: Store) -> Keyed:
        """Begin to work with an open store."""
        documents = store.documents()
        self.keys = Keys(documents, self._clock)
        self.book = KeyBook(documents, self._clock)
        self.keyed = Keyed(self.keys.terms, self.book, self._clock)
        return self.keyed
