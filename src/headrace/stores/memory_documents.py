"""The `Documents` of `ports`, in memory."""

from __future__ import annotations

from msgspec.structs import replace

from headrace.ports import Document


class MemoryDocuments:
    """Small records in one process; belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Document] = {}
        self._last = 0

    async def insert(
        self,
        kind: str,
        id: str,
        body: bytes,
        tenant: str = "",
        expires_at: float | None = None,
    ) -> Document | None:
        if (kind, id) in self._kept:
            return None
        self._last += 1
        made = Document(kind, id, tenant, self._last, 1, body, expires_at)
        self._kept[kind, id] = made
        return made

    async def document(self, kind: str, id: str) -> Document | None:
        return self._kept.get((kind, id))

    async def replace(
        self, old: Document, body: bytes, expires_at: float | None = None
    ) -> Document | None:
        kept = self._kept.get((old.kind, old.id))
        if kept is None or (kept.number, kept.version) != (old.number, old.version):
            return None
        made = replace(kept, version=kept.version + 1, body=body, expires_at=expires_at)
        self._kept[old.kind, old.id] = made
        return made

    async def delete(self, kind: str, id: str) -> bool:
        return self._kept.pop((kind, id), None) is not None

    async def documents(
        self,
        kind: str,
        tenant: str | None = None,
        after: int | None = None,
        limit: int = 100,
        *,
        oldest_first: bool = False,
    ) -> list[Document]:
        found = [
            d
            for d in self._kept.values()
            if d.kind == kind and tenant in (None, d.tenant)
        ]
        found.sort(key=_number, reverse=not oldest_first)
        if after is not None:
            found = [
                d
                for d in found
                if (d.number > after) == oldest_first and d.number != after
            ]
        return found[:limit]

    async def expired(self, kind: str, now: float, limit: int = 100) -> list[Document]:
        found = [
            (d.expires_at, d.number, d)
            for d in self._kept.values()
            if d.kind == kind and d.expires_at is not None and d.expires_at <= now
        ]
        return [d for _, _, d in sorted(found, key=lambda each: each[:2])][:limit]


def _number(document: Document) -> int:
    return document.number
