"""What keeps small records beside the jobs: the contract of every store, too."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Document(msgspec.Struct, frozen=True):
    """A small record that its owner understands: a batch, a file's facts, a key."""

    kind: str
    id: str
    tenant: str
    number: int
    """Grows with each insert, over all kinds: the order of creation."""
    version: int
    """1 at first, grows by one with each `replace`."""
    body: bytes
    """JSON."""
    expires_at: float | None = None
    """UTC seconds; None = never."""


class Documents(Protocol):
    """Small records by kind and id, in the order of their creation.

    A store deletes nothing by itself when a document expires: `expired` tells which.
    """

    async def insert(
        self,
        kind: str,
        id: str,
        body: bytes,
        tenant: str = "",
        expires_at: float | None = None,
    ) -> Document | None:
        """Keep a new document; None, and nothing changed, if the id is taken."""
        ...

    async def document(self, kind: str, id: str) -> Document | None:
        """Return a document; None if there is none."""
        ...

    async def replace(
        self, old: Document, body: bytes, expires_at: float | None = None
    ) -> Document | None:
        """Change a document that nobody has changed since `old` was read.

        Returns:
            The new version; None, and nothing changed, if it was changed or deleted,
            though another one may bear its id by now.
        """
        ...

    async def delete(self, kind: str, id: str) -> bool:
        """Forget a document; False if there was none."""
        ...

    async def documents(
        self,
        kind: str,
        tenant: str | None = None,
        after: int | None = None,
        limit: int = 100,
        *,
        oldest_first: bool = False,
    ) -> list[Document]:
        """Return a page, newest first.

        Args:
            kind: whose.
            tenant: only of this one; None = of all.
            after: `Document.number` to go on after, in the order of the page.
            limit: at most so many, >= 1.
            oldest_first: turn the order round.
        """
        ...

    async def expired(self, kind: str, now: float, limit: int = 100) -> list[Document]:
        """Return documents whose time is over at `now` (UTC seconds), the first first."""
        ...
