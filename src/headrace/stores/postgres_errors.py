"""What PostgreSQL's errors mean to the user, in one table."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import asyncpg

from headrace.errors import StoreError
from headrace.stores.schema import SCHEMA_VERSION
from headrace.stores.sql import Taken

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""Everything by which asyncpg says that the database failed; TimeoutError is an OSError."""

_ADVICE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidCatalogNameError, "there is no such database: create it first"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "the user or its password is refused: look at the address",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "the user may not do this: grant it the rights on the schema",
    ),
    (
        asyncpg.InsufficientResourcesError,
        "the server has no room left: free disk, memory or connections there",
    ),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "the server is read-only: name the primary, not a replica",
    ),
    (asyncpg.UndefinedTableError, "tables are missing: run `headrace migrate`"),
    (asyncpg.PostgresConnectionError, "the connection broke: is the server up?"),
    (asyncpg.OperatorInterventionError, "the server ended the connection"),
    (asyncpg.InterfaceError, "the connection broke: is the server up?"),
    (asyncpg.InternalClientError, "the connection broke: is the server up?"),
    (TimeoutError, "the server did not answer in time"),
    (OSError, "the server cannot be reached: is it up, and is the address right?"),
)


def shown(url: str) -> str:
    """Return the address without its user and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def translate(error: BaseException, url: str) -> StoreError:
    """Return the error that names the database and says what to do next."""
    if isinstance(error, asyncpg.UniqueViolationError):
        return Taken(str(error))
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return StoreError(f"store {shown(url)}: {advice} ({error})")
    return StoreError(f"store {shown(url)}: the database refused ({error})")


def not_ready(found: str, url: str) -> StoreError:
    """Return the error about tables that are missing, older or newer."""
    from headrace.stores.migrating import is_older  # Alembic is slow to import

    if not found:
        return StoreError(
            f"store {shown(url)}: it holds no tables of Headrace yet; "
            "run `headrace migrate` on it once"
        )
    if is_older(found):
        return StoreError(
            f"store {shown(url)}: its tables are of version {found}, this program needs "
            f"{SCHEMA_VERSION}; end all older processes, then run `headrace migrate`"
        )
    return StoreError(
        f"store {shown(url)}: its tables are of version {found}, newer than this "
        f"program knows ({SCHEMA_VERSION}); use a newer Headrace. "
        "`headrace migrate` only goes forward"
    )
