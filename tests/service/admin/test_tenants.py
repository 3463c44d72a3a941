"""A key of one tenant reaches nothing of another one, on any route."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2

from headrace.service.api import make_app
from headrace.service.core import Service
from headrace.service.keys import NewKey
from service_building import client_of, opened

ITEM = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "m"}}
UPLOAD = {"bytes": 0, "filename": "a.jsonl", "mime_type": "", "purpose": "batch"}
BODIES = {"/v1/uploads/{upload_id}/complete": {"part_ids": []}}
"""What must be sent along to be understood."""
ENDLESS = ("/events", "/outcomes")
"""Streams that go on while the job does."""
UPSTREAM = ("gateway",)
"""Routes that hold nothing of anybody."""
Headers = dict[str, str]


async def key_of(service: Service, tenant: str, *scopes: Any) -> Headers:
    """Make a key; return the header that carries it."""
    text, _ = await service.keys.make(NewKey(tenant, scopes or ("submit", "read")))
    return {"authorization": f"Bearer {text}"}


async def things_of(client: httpx2.AsyncClient, key: Headers) -> dict[str, str]:
    """Make one of each thing; return their ids by the names of path parameters."""
    sent = {"file": ("in.jsonl", b"{}\n"), "purpose": (None, "batch")}
    file = await client.post("/v1/files", files=sent, headers=key)
    assert file.status_code == 200, file.text
    file_id = file.json()["id"]
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    batch = await client.post("/v1/batches", json=body, headers=key)
    upload = await client.post("/v1/uploads", json=UPLOAD, headers=key)
    job = await client.post("/api/v1/jobs", json=[ITEM], headers=key)
    id = job.json()["id"]
    await client.post(f"/api/v1/jobs/{id}/pause", headers=key)
    return {
        "file_id": file_id,
        "batch_id": batch.json()["id"],
        "upload_id": upload.json()["id"],
        "job_id": id,
        "index": "0",
        "key_id": "key_0000000000000000",
    }


def routes(app: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and description of each route."""
    return [
        (method.upper(), path, described)
        for path, methods in app.openapi()["paths"].items()
        for method, described in methods.items()
        if not set(described.get("tags", ())) & set(UPSTREAM)
    ]


def filled(path: str, ids: dict[str, str]) -> str:
    """Return a path with ids in the place of its parameters; each must be known."""
    return re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)


def test_another_tenants_things_are_not_found_on_any_route() -> None:
    async def main() -> list[tuple[str, str, int]]:
        async with opened() as service:
            app = make_app(service)
            async with client_of(app) as client:
                ours, theirs = await key_of(service, "a"), await key_of(service, "b")
                ids = await things_of(client, theirs)
                tried = []
                for method, path, described in routes(app):
                    if "{" not in path or "administration" in described["tags"]:
                        continue
                    for prefix in ("/v1", ""):
                        place = prefix + filled(path, ids).removeprefix("/v1")
                        if path.startswith("/api") and prefix:
                            continue
                        answer = await client.request(
                            method, place, headers=ours, json=BODIES.get(path)
                        )
                        tried.append((method, path, answer.status_code))
                        if method == "GET" and not path.endswith(ENDLESS):
                            own = await client.get(place, headers=theirs)
                            # An answered file or batch is there for its owner.
                            assert own.status_code == 200, (place, own.text)
                return tried

    tried = asyncio.run(main())
    assert len(tried) > 20
    assert [each for each in tried if each[2] != 404] == []


def test_lists_hold_nothing_of_another_tenant() -> None:
    async def main() -> None:
        async with opened() as service:
            app = make_app(service)
            async with client_of(app) as client:
                ours, theirs = await key_of(service, "a"), await key_of(service, "b")
                ids = await things_of(client, theirs)
                lists = 0
                for method, path, _ in routes(app):
                    if method != "GET" or "{" in path or path.endswith(ENDLESS):
                        continue
                    answer = await client.get(path, headers=ours)
                    assert answer.status_code in (200, 403), (path, answer.text)
                    lists += answer.status_code == 200
                    for id in (ids["file_id"], ids["batch_id"], ids["job_id"]):
                        assert id not in answer.text
                assert lists >= 3

    asyncio.run(main())


def test_a_batch_cannot_be_made_of_another_tenants_file() -> None:
    async def main() -> int:
        async with opened() as service, client_of(make_app(service)) as client:
            ours, theirs = await key_of(service, "a"), await key_of(service, "b")
            ids = await things_of(client, theirs)
            body = {
                "input_file_id": ids["file_id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            }
            answer = await client.post("/v1/batches", json=body, headers=ours)
            return answer.status_code

    assert asyncio.run(main()) == 404


def test_no_route_answers_without_a_key_but_health() -> None:
    async def main() -> list[str]:
        async with opened() as service:
            app = make_app(service)
            async with client_of(app) as client:
                await key_of(service, "a")
                names = ("file_id", "upload_id", "batch_id", "job_id", "key_id")
                ids = dict.fromkeys(names, "x") | {"index": "0", "model": "m"}
                open_ones = []
                for path, methods in app.openapi()["paths"].items():
                    for method in methods:
                        place = filled(path, ids)
                        answer = await client.request(method.upper(), place)
                        if answer.status_code != 401:
                            open_ones.append(path)
                return open_ones

    assert all(path.startswith("/health/") for path in asyncio.run(main()))


def test_only_an_admin_may_administer() -> None:
    async def main() -> dict[str, int]:
        async with opened() as service:
            app = make_app(service)
            async with client_of(app) as client:
                key = await key_of(service, "a")
                found = {}
                for method, path, described in routes(app):
                    if "administration" in described.get("tags", ()):
                        params = {"name": "x"}
                        place = filled(path, {"key_id": "x"})
                        answer = await client.request(
                            method, place, headers=key, params=params, json={}
                        )
                        found[f"{method} {path}"] = answer.status_code
                return found

    found = asyncio.run(main())
    assert found
    assert set(found.values()) == {403}
