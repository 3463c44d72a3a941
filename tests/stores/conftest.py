"""Stores to be tried: in memory, in a file, and in a server of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from headrace.ports import Store
from headrace.stores.opening import migrate, open_store
from headrace.testing.clocks import MovableClock
from servers import postgres_server

NUMBERS = count(1)


class TriedStore:
    """A store and the means to move its clock."""

    def __init__(self) -> None:
        self.clock = MovableClock()
        self.moved_s = 0.0
        self.store: Store

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.moved_s += seconds


Opens = Callable[[], AbstractAsyncContextManager[TriedStore]]


@asynccontextmanager
async def _tried(address: str) -> AsyncIterator[TriedStore]:
    world = TriedStore()
    world.store = await open_store(address, world.clock, offset_s=lambda: world.moved_s)
    try:
        yield world
    finally:
        await world.store.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server, once for all tests of this process."""
    with postgres_server() as server:
        yield server.address


def _create(postgres: str, template: str) -> str:
    name = f"headrace_{next(NUMBERS)}"

    async def make() -> None:
        connection = await asyncpg.connect(f"{postgres}/postgres")
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await connection.close()

    asyncio.run(make())
    return name


@pytest.fixture
def database(postgres: str) -> str:
    """The address of a fresh, empty database."""
    return f"{postgres}/{_create(postgres, 'template0')}"


@pytest.fixture(scope="session")
def migrated_once(postgres: str) -> str:
    """The name of a database with tables, to copy."""
    name = _create(postgres, "template0")
    asyncio.run(migrate(f"{postgres}/{name}", MovableClock()))
    return name


@pytest.fixture
def migrated(postgres: str, migrated_once: str) -> str:
    """The address of a database with tables and no jobs."""
    return f"{postgres}/{_create(postgres, migrated_once)}"


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Opens:
    """Opens a fresh store of each kind."""
    if request.param == "memory":
        return lambda: _tried(":memory:")
    if request.param == "sqlite":
        return lambda: _tried(str(tmp_path / f"{next(NUMBERS)}.db"))
    address = request.getfixturevalue("migrated")
    return lambda: _tried(address)
