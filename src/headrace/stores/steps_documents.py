"""How small records are kept, changed and found: each function is one transaction."""

from __future__ import annotations

from typing import Any

from headrace.ports import Document
from headrace.stores import statements_documents as of_documents
from headrace.stores.packing import text
from headrace.stores.statement import Query, Steps

_LAST = 2**63 - 1


def insert(new: Document) -> Steps[Document | None]:
    """Keep a new document; None if its id is taken."""
    given = {
        "kind": text(new.kind),
        "id": text(new.id),
        "tenant": text(new.tenant),
        "body": new.body,
        "expires_at": new.expires_at,
    }
    rows = yield Query(of_documents.insert, given)
    if not rows:
        return None
    return Document(
        new.kind, new.id, new.tenant, rows[0][0], 1, new.body, new.expires_at
    )


def find(kind: str, id: str) -> Steps[Document | None]:
    """Return a document, if there is one."""
    rows = yield Query(of_documents.one, {"kind": text(kind), "id": text(id)})
    return _document(rows[0]) if rows else None


def replace(
    old: Document, body: bytes, expires_at: float | None
) -> Steps[Document | None]:
    """Change a document that has not changed since; None if it has."""
    given = {
        "of_number": old.number,
        "of_version": old.version,
        "new_body": body,
        "new_expiry": expires_at,
    }
    rows = yield Query(of_documents.replace, given)
    return _document(rows[0]) if rows else None


def remove(kind: str, id: str) -> Steps[bool]:
    """Forget a document."""
    rows = yield Query(of_documents.remove, {"kind": text(kind), "id": text(id)})
    return bool(rows)


def page(
    kind: str, tenant: str | None, after: int | None, limit: int, *, oldest_first: bool
) -> Steps[list[Document]]:
    """Return a page of documents."""
    start = 0 if oldest_first else _LAST
    given = {
        "kind": text(kind),
        "of_all": int(tenant is None),
        "of_tenant": text(tenant or ""),
        "after": start if after is None else after,
        "limit": limit,
    }
    statement = of_documents.oldest if oldest_first else of_documents.newest
    rows = yield Query(statement, given)
    return [_document(row) for row in rows]


def expired(kind: str, now: float, limit: int) -> Steps[list[Document]]:
    """Return documents whose time is over."""
    given = {"kind": text(kind), "until": now, "limit": limit}
    rows = yield Query(of_documents.expired, given)
    return [_document(row) for row in rows]


def _document(row: Any) -> Document:
    kind, id_, tenant, number, version, body, expires_at = row
    return Document(kind, id_, tenant, number, version, bytes(body), expires_at)
