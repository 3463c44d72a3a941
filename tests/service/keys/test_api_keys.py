"""Keys: who may ask, for what, and how much."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from headrace.engine.keyed import Keyed
from headrace.errors import ConfigError
from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.errors import ApiError
from headrace.service.keybook import KeyBook
from headrace.service.keydoor import Door
from headrace.service.keys import Keys, NewKey
from headrace.service.principal import Principal
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore
from headrace.terms import KeyLimits, KeyTerms
from service_building import client_of, opened


async def made(service: Service, **wish: Any) -> dict[str, str]:
    """Make a key; return the header that carries it."""
    text, _ = await service.keys.make(NewKey(**{"tenant": "a", **wish}))
    return {"authorization": f"Bearer {text}"}


def asked(path: str, method: str = "GET", **wish: Any) -> httpx2.Response:
    """Ask a service that has one key, with that key."""

    async def main() -> httpx2.Response:
        async with opened() as service, client_of(make_app(service)) as client:
            headers = await made(service, **wish)
            return await client.request(method, path, headers=headers)

    return asyncio.run(main())


def test_the_store_never_sees_a_key() -> None:
    async def main() -> None:
        store = MemoryStore(VirtualClock())
        text, key = await Keys(store.documents(), VirtualClock()).make(NewKey("a"))
        (document,) = await store.documents().documents("key")
        assert len(text) == 46
        assert text[3:].encode() not in document.body
        assert text[3:] not in repr(key)

    asyncio.run(main())


def test_a_revoked_key_is_refused_and_the_service_stays_closed() -> None:
    async def main() -> None:
        store = MemoryStore(VirtualClock())
        keys = Keys(store.documents(), VirtualClock())
        text, key = await keys.make(NewKey("a"))
        assert await keys.verify(text) == key
        await keys.revoke(key.id)
        assert await keys.verify(text) is None
        assert await keys.are_any()

    asyncio.run(main())


@pytest.mark.parametrize(
    "text", ["", "hr_", "hr_" + "a" * 43, "sk-x", "hr_" + "é" * 43]
)
def test_what_is_no_key_opens_nothing(text: str) -> None:
    async def main() -> None:
        keys = Keys(MemoryStore(VirtualClock()).documents(), VirtualClock())
        await keys.make(NewKey("a"))
        assert await keys.verify(text) is None

    asyncio.run(main())


@pytest.mark.parametrize(
    "wish",
    [
        {"tenant": ""},
        {"tenant": "a b"},
        {"tenant": "a", "scopes": ("write",)},
        {"tenant": "a", "scopes": ()},
        {"tenant": "a", "name": "\n"},
    ],
)
def test_a_key_that_cannot_be_is_refused(wish: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="allowed"):
        NewKey(**wish)


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Basic eDp5", "Bearer hr_" + "a" * 43]
)
def test_once_there_is_a_key_nobody_may_come_without(header: str | None) -> None:
    async def main() -> httpx2.Response:
        async with opened() as service, client_of(make_app(service)) as client:
            await made(service)
            headers = {} if header is None else {"authorization": header}
            return await client.get("/v1/batches", headers=headers)

    answer = asyncio.run(main())
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")


def test_a_scope_that_is_missing_is_named() -> None:
    answer = asked("/v1/batches", scopes=("submit",))
    assert answer.status_code == 403
    assert "'read'" in answer.json()["error"]["message"]
    assert asked("/v1/batches", scopes=("read",)).status_code == 200


def test_a_key_that_asks_too_often_is_told_when_to_come_again() -> None:
    async def main() -> list[httpx2.Response]:
        async with opened() as service, client_of(make_app(service)) as client:
            headers = await made(service, limits=KeyLimits(calls_per_minute=1))
            return [await client.get("/v1/batches", headers=headers) for _ in "ab"]

    first, second = asyncio.run(main())
    assert (first.status_code, second.status_code) == (200, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 61
    assert second.json()["error"]["param"] == "calls_per_minute"


def door_of(**limits: Any) -> tuple[Door, Principal]:
    """Return a door and one who asks with such limits."""
    clock = VirtualClock()
    documents = MemoryStore(clock).documents()
    keyed = Keyed(Keys(documents, clock).terms, KeyBook(documents, clock), clock)
    terms = KeyTerms(KeyLimits(**limits))
    who = Principal("a", frozenset({"submit"}), "key_1", terms)
    return Door(keyed, clock), who


def test_calls_of_a_key_are_under_way_only_so_many_at_a_time() -> None:
    async def main() -> None:
        door, who = door_of(in_flight=1)
        leave = door.enter(who, lambda: 0)
        with pytest.raises(ApiError, match="in_flight"):
            door.enter(who, lambda: 0)
        leave()
        door.enter(who, lambda: 0)

    run_virtual(main())


def test_tokens_of_a_key_are_counted_and_what_never_fits_is_not_tried_again() -> None:
    async def main() -> None:
        door, who = door_of(tokens_per_minute=100)
        door.enter(who, lambda: 1)
        with pytest.raises(ApiError) as found:
            door.enter(who, lambda: 101)
        assert found.value.headers == {"x-should-retry": "false"}
        with pytest.raises(ApiError) as found:
            door.enter(who, lambda: 100)
        assert "retry-after" in found.value.headers

    run_virtual(main())


def test_calls_of_a_key_may_come_at_once_within_a_minutes_limit() -> None:
    async def main() -> None:
        door, who = door_of(calls_per_minute=5)
        for _ in range(5):
            door.enter(who, lambda: 0)
        with pytest.raises(ApiError, match="calls_per_minute"):
            door.enter(who, lambda: 0)

    run_virtual(main())


def test_a_key_ends_with_its_time() -> None:
    async def main() -> None:
        clock = VirtualClock()
        keys = Keys(MemoryStore(clock).documents(), clock)
        text, key = await keys.make(NewKey("a", expires_in_s=60))
        assert await keys.verify(text) == key
        await clock.sleep(61)
        assert await keys.verify(text) is None
        assert await keys.why_not(key.id) == "this API key has expired"

    run_virtual(main())


def test_the_description_says_of_every_route_how_a_key_is_refused() -> None:
    async def main() -> dict[str, Any]:
        async with opened() as service:
            return make_app(service).openapi()

    described = asyncio.run(main())
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in described["paths"].items():
        for operation in methods.values():
            is_open = path.startswith("/health/")
            assert ("security" in operation) is not is_open, path
            assert is_open or {"401", "403", "429"} <= set(operation["responses"]), path
