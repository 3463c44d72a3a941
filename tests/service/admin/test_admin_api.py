"""Endpoints, limits and retention over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from service_building import NOWHERE, with_client

ENDPOINTS = "/api/v1/endpoints"
SECOND = {"name": "second", "base_url": "http://127.0.0.1:8", "weight": 2}


def test_an_endpoint_is_added_weighed_drained_restored_and_removed() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        answer = await client.post(ENDPOINTS, json=SECOND)
        assert [each["name"] for each in answer.json()["data"]] == [NOWHERE, "second"]
        name = {"name": "second"}
        path = f"{ENDPOINTS}/weight"
        answer = await client.put(path, json={"weight": 3}, params=name)
        assert answer.json()["data"][1]["weight"] == 3
        answer = await client.post(f"{ENDPOINTS}/drain", params=name)
        assert answer.json()["data"][1]["state"] == "drained"
        answer = await client.post(f"{ENDPOINTS}/restore", params=name)
        assert answer.json()["data"][1]["state"] == "closed"
        answer = await client.delete(ENDPOINTS, params=name)
        assert [each["name"] for each in answer.json()["data"]] == [NOWHERE]

    with_client(main)


@pytest.mark.parametrize(
    ("url", "host", "status"),
    [
        ("http://127.0.0.1:8", "127.0.0.1", 200),
        ("http://127.0.0.1:8", "0.0.0.0", 400),
        ("http://[::ffff:127.0.0.1]:8", "0.0.0.0", 400),
        ("http://10.0.0.1", "127.0.0.1", 400),
        ("http://169.254.169.254", "127.0.0.1", 400),
        ("http://0.0.0.0", "127.0.0.1", 400),
        ("http://8.8.8.8", "127.0.0.1", 200),
        ("ftp://8.8.8.8", "127.0.0.1", 400),
        ("http://[x", "127.0.0.1", 400),
    ],
)
def test_only_addresses_that_may_be_called_are_added(
    url: str, host: str, status: int
) -> None:
    async def main(client: httpx2.AsyncClient) -> int:
        answer = await client.post(ENDPOINTS, json={"name": "x", "base_url": url})
        return answer.status_code

    assert with_client(main, host=host) == status


def test_private_addresses_are_called_if_a_setting_allows_it() -> None:
    async def main(client: httpx2.AsyncClient) -> list[int]:
        urls = ("http://10.0.0.1", "http://169.254.169.254")
        bodies = [{"name": url, "base_url": url} for url in urls]
        sent = [await client.post(ENDPOINTS, json=body) for body in bodies]
        return [answer.status_code for answer in sent]

    assert with_client(main, private_upstreams=True) == [200, 400]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ENDPOINTS, {**SECOND, "name": NOWHERE}),
        ("POST", ENDPOINTS, {**SECOND, "api_key_env": "HOME"}),
        ("DELETE", f"{ENDPOINTS}?name={NOWHERE}", None),
        ("PATCH", f"/api/v1/limits?name={NOWHERE}", {"calls_per_minute": 5}),
    ],
)
def test_what_the_engine_refuses_is_said(method: str, path: str, body: Any) -> None:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.request(method, path, json=body)

    answer = with_client(main)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", ENDPOINTS, None),
        ("POST", f"{ENDPOINTS}/drain", None),
        ("POST", f"{ENDPOINTS}/restore", None),
        ("PUT", f"{ENDPOINTS}/weight", {"weight": 2}),
        ("PATCH", "/api/v1/limits", {}),
    ],
)
def test_an_endpoint_that_is_not_there_is_not_found(
    method: str, path: str, body: Any
) -> None:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.request(method, f"{path}?name=x", json=body)

    answer = with_client(main)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "name")


def test_limits_are_moved_while_calls_are_made() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        path = f"/api/v1/limits?name={NOWHERE}"
        changes = {"calls_per_minute": 120, "in_flight": 9}
        answer = await client.patch(path, json=changes)
        assert answer.status_code == 200, answer.text
        return (await client.get("/api/v1/limits")).json()["data"][0]

    found = with_client(main, rpm=60, in_flight=4)
    assert found["limits"]["calls_per_minute"] == 120
    assert found["in_flight_limit"] == 9


def test_old_jobs_are_forgotten() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        item = {"custom_id": "a", "url": "/v1/x", "body": {"model": "m"}}
        id = (await client.post("/api/v1/jobs", json=[item])).json()["id"]
        await client.post(f"/api/v1/jobs/{id}/cancel")
        await client.get(f"/api/v1/jobs/{id}/outcomes")
        path = "/api/v1/admin/cleanup"
        young = await client.post(path, json={"older_than_s": 60})
        assert young.json()["removed"] == []
        dry = await client.post(path, json={"older_than_s": 0, "dry_run": True})
        assert dry.json()["removed"] == [id]
        old = await client.post(path, json={"older_than_s": 0})
        assert old.json() == {"removed": [id], "has_more": False}
        assert (await client.get(f"/api/v1/jobs/{id}")).status_code == 404

    with_client(main)


def test_the_figures_tell_what_waits() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        return (await client.get("/api/v1/system/stats")).json()

    found = with_client(main)
    assert (found["queued"], found["in_flight"]) == (0, 0)
    assert found["endpoints"][0]["base_url"] == NOWHERE
