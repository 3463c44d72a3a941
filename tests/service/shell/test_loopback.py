"""Without keys, no web page of another origin is answered."""

from __future__ import annotations

import httpx2
import pytest

from headrace.service.loopback import is_loopback
from service_building import with_client


def status(**headers: str) -> int:
    async def ask(client: httpx2.AsyncClient) -> httpx2.Response:
        # The least that asks who is there: a body of another type comes to 415.
        return await client.post("/v1/chat/completions", content=b"", headers=headers)

    return int(with_client(ask).status_code)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", ""]
)
def test_a_name_that_is_not_this_machine_s_is_refused(host: str) -> None:
    assert status(host=host) == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are_let_in(host: str) -> None:
    assert status(host=host) == 415


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1"]
)
def test_another_origin_is_refused(origin: str) -> None:
    assert status(host="127.0.0.1:8000", origin=origin) == 403


def test_its_own_origin_is_let_in() -> None:
    own = {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}
    assert status(**own) == 415


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.com", "*"])
def test_addresses_that_others_reach_are_no_loopback(host: str) -> None:
    assert not is_loopback(host)
