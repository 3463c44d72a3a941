"""The `Documents` of `ports`, in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from headrace.ports import Document
from headrace.stores import steps_documents
from headrace.stores.statement import Steps

T = TypeVar("T")


class Transactions(Protocol):
    """Runs steps as one transaction."""

    async def read(self, steps: Callable[[], Steps[T]]) -> T:
        """Run steps that change nothing."""
        ...

    async def write(self, steps: Callable[[], Steps[T]]) -> T:
        """Run steps, all or none."""
        ...


class SqlDocuments:
    """Small records in a database."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def insert(
        self,
        kind: str,
        id: str,
        body: bytes,
        tenant: str = "",
        expires_at: float | None = None,
    ) -> Document | None:
        new = Document(kind, id, tenant, 0, 1, body, expires_at)
        return await self._transactions.write(lambda: steps_documents.insert(new))

    async def document(self, kind: str, id: str) -> Document | None:
        return await self._transactions.read(lambda: steps_documents.find(kind, id))

    async def replace(
        self, old: Document, body: bytes, expires_at: float | None = None
    ) -> Document | None:
        return await self._transactions.write(
            lambda: steps_documents.replace(old, body, expires_at)
        )

    async def delete(self, kind: str, id: str) -> bool:
        return await self._transactions.write(lambda: steps_documents.remove(kind, id))

    async def documents(
        self,
        kind: str,
        tenant: str | None = None,
        after: int | None = None,
        limit: int = 100,
        *,
        oldest_first: bool = False,
    ) -> list[Document]:
        return await self._transactions.read(
            lambda: steps_documents.page(
                kind, tenant, after, limit, oldest_first=oldest_first
            )
        )

    async def expired(self, kind: str, now: float, limit: int = 100) -> list[Document]:
        return await self._transactions.read(
            lambda: steps_documents.expired(kind, now, limit)
        )
