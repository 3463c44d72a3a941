"""The tables, as they stand after the last migration.

```
jobs ──< items ──1 payloads        an item's key is job * 2**32 + seq, so the items of
owners ─< items ──1 results        a job lie side by side, and payload and result rows
          items ──< attempts       bear the same key
notes
```

Beside them, without ties to any job: answers kept (`cache_entries`) and who makes one
that is missing (`cache_leases`); small records of a service (`documents`); files of a
service (`files`), each naming one body (`file_bodies`) in pieces (`file_pieces`).

An item's row is narrow, for it is written three times; payloads and results are
written once. A change here needs a migration and a new `SCHEMA_VERSION`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    literal_column,
    text,
)

from headrace.model import ItemState
from headrace.stores.itemstates import CODE_OF

SCHEMA_VERSION: Final = "0005"
"""The last revision in `migrations/versions`."""

_Key = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is SQLite's rowid

ZERO: Final = text("0")
"""New items are queued; what every new row has need not be sent."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, unique=True),
    Column("idempotency_key", Text, unique=True),
    Column("route", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("ending", Text, nullable=False),
    Column("threshold", Double),
    Column("total", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("deadline_at", Double),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("metadata", Text, nullable=False),
    Column("pause_reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("rendered", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False, server_default=ZERO),
    Column("output_tokens", BigInteger, nullable=False, server_default=ZERO),
    Column("cost_nano", BigInteger, nullable=False, server_default=ZERO),
    sqlite_autoincrement=True,  # a number is never used again
)

items = Table(
    "items",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=False),
    Column("job", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("custom_id", Text, nullable=False),
    Column("state", SmallInteger, nullable=False, server_default=ZERO),
    Column("generation", Integer, nullable=False, server_default=ZERO),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("rescues", Integer, nullable=False, server_default=ZERO),
    Column("owner", BigInteger),
    Column("queued_at", Double, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Index("items_custom_id", "job", "custom_id", unique=True),
)

QUEUED: Final[ColumnElement[int]] = literal_column(str(CODE_OF[ItemState.QUEUED]))
RUNNING: Final[ColumnElement[int]] = literal_column(str(CODE_OF[ItemState.RUNNING]))
"""Written into the statements: a partial index serves no bound value."""

Index(
    "items_queued",
    items.c.job,
    items.c.seq,
    sqlite_where=items.c.state == QUEUED,
    postgresql_where=items.c.state == QUEUED,
)
Index(
    "items_running",
    items.c.owner,
    items.c.job,
    sqlite_where=items.c.state == RUNNING,
    postgresql_where=items.c.state == RUNNING,
)

payloads = Table(
    "payloads",
    metadata,
    Column("item", _Key, primary_key=True, autoincrement=False),
    Column("packed", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("item", _Key, primary_key=True, autoincrement=False),
    Column("job", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("status", Integer),
    Column("code", Text),
    Column("message", Text),
    Column("packed", SmallInteger, nullable=False),
    Column("body", LargeBinary),
    Column("detail", LargeBinary),
    Column("cost_nano", BigInteger),
    Index("results_number", "job", "number", unique=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("item", BigInteger, nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("status", Integer),
    Column("endpoint", Text, nullable=False),
    Column("in_flight_s", Double, nullable=False),
)

owners = Table(
    "owners",
    metadata,
    Column("epoch", _Key, primary_key=True, autoincrement=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    sqlite_autoincrement=True,  # an epoch is never used again
)

notes = Table(
    "notes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("written_at", Double, nullable=False),
)

cache_entries = Table(
    "cache_entries",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("fresh_until", Double),
    Column("kept_until", Double, index=True),
    Column("used_at", Double, nullable=False),
    Column("hits", BigInteger, nullable=False),
    Index("cache_entries_used", "used_at", "size", "hits"),
)

cache_leases = Table(
    "cache_leases",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("expires_at", Double),
    Index("documents_id", "kind", "id", unique=True),
    Index("documents_page", "kind", "tenant", "number"),
    Index("documents_expiry", "kind", "expires_at"),
    sqlite_autoincrement=True,  # numbers order them, so none is used again
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("body", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
)

file_bodies = Table(
    "file_bodies",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, index=True),
    Column("is_whole", SmallInteger, nullable=False),
    Column("expires_at", Double, index=True),
    sqlite_autoincrement=True,  # a number is never used again
)

file_pieces = Table(
    "file_pieces",
    metadata,
    Column("body", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("packed", SmallInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

version = Table(
    "alembic_version",
    MetaData(),  # Alembic's own table: it makes it
    Column("version_num", Text, nullable=False),
)
