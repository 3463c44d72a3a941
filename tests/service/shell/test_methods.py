"""What is answered to methods that a path does not have, on every path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from headrace.service.errors import METHODS
from service_building import with_client

FIELDS = {"message", "type", "param", "code"}


def described() -> dict[str, dict[str, Any]]:
    """Return the paths of the OpenAPI description."""

    async def main(client: httpx2.AsyncClient) -> Any:
        return (await client.get("/openapi.json")).json()["paths"]

    paths: dict[str, dict[str, Any]] = with_client(main)
    return paths


def others() -> Iterator[tuple[str, str, list[str]]]:
    """Give each path with each method that it does not have, and those it has.

    One path may be an instance of another, such as /jobs/estimate of /jobs/{job_id}.
    """
    described_paths = described()
    forms = {
        re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): operations.keys()
        for path, operations in described_paths.items()
    }
    for path in described_paths:
        found = [have for form, have in forms.items() if form.fullmatch(path)]
        has = [m for m in METHODS if any(m.lower() in have for have in found)]
        for method in METHODS:
            if method not in has:
                yield method, path, has


def test_each_path_names_all_its_methods_to_who_asks_by_another() -> None:
    asked = list(others())

    async def main(client: httpx2.AsyncClient) -> None:
        for method, path, has in asked:
            answer = await client.request(method, path)
            assert (answer.status_code, method, path) == (405, method, path)
            assert answer.headers["allow"] == ", ".join(has)
            if method != "HEAD":
                assert set(answer.json()["error"]) == FIELDS
                assert answer.json()["error"]["code"] == "method_not_allowed"

    with_client(main)


@pytest.mark.parametrize("prefix", ["/v1", "", "/api/v1", "/api"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_there_is_told_in_the_envelope(method: str, prefix: str) -> None:
    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        return await client.request(method, f"{prefix}/nowhere")

    answer = with_client(main)
    assert answer.status_code == 404
    assert answer.headers["x-request-id"]
    assert method == "HEAD" or set(answer.json()["error"]) == FIELDS


def test_also_paths_without_the_version_name_all_their_methods() -> None:
    async def main(client: httpx2.AsyncClient) -> str:
        allowed: str = (await client.request("PUT", "/files")).headers["allow"]
        return allowed

    assert with_client(main) == "GET, POST"
