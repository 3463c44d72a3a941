from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.routing import Match
from starlette.testclient import TestClient

from headrace.service.sifting import SiftingRouter


def _app() -> FastAPI:
    first, second = SiftingRouter(), SiftingRouter()

    @first.get("/things/{id}")
    async def one(id: str) -> str:
        return id

    @second.get("/things")
    async def all_things() -> str:
        return "all"

    @second.post("/things/{id}")
    async def change(id: str) -> str:
        return f"changed {id}"

    app = FastAPI(redirect_slashes=False)
    for router in (first, second):
        app.include_router(router, prefix="/v1")
        app.include_router(router)
    return app


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_each_route_is_found_under_both_prefixes(prefix: str) -> None:
    client = TestClient(_app())
    assert client.get(f"{prefix}/things/7").json() == "7"
    assert client.get(f"{prefix}/things").json() == "all"
    assert client.post(f"{prefix}/things/7").json() == "changed 7"


def test_what_no_route_matches_is_told_as_ever() -> None:
    client = TestClient(_app())
    assert client.get("/other").status_code == 404
    assert client.delete("/things/7").status_code == 405


def test_a_router_turns_other_paths_away_without_trying_its_routes() -> None:
    router = SiftingRouter()
    assert router.matches({"type": "http", "path": "/x"})[0] is Match.NONE
