"""Keys made, changed and revoked over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from service_building import with_client

KEYS = "/api/v1/keys"


async def admin_of(client: httpx2.AsyncClient) -> None:
    """Make the first key, and use it from now on."""
    made = await client.post(KEYS, json={"scopes": ["admin"]})
    client.headers["authorization"] = f"Bearer {made.json()['key']}"


def test_a_key_is_shown_once_used_changed_and_revoked() -> None:
    async def main(client: httpx2.AsyncClient) -> None:
        await admin_of(client)
        wish = {"tenant": "a", "in_flight": 2, "budget_usd": 0.1, "expires_in_s": 60}
        made = (await client.post(KEYS, json=wish)).json()
        bearer = {"authorization": f"Bearer {made['key']}"}
        assert (await client.get("/v1/batches", headers=bearer)).status_code == 200
        changes = {"budget_usd": 5, "budget_window": "week", "in_flight": None}
        changed = (await client.patch(f"{KEYS}/{made['id']}", json=changes)).json()
        assert changed["budget"] == {"usd": 5.0, "window": "week", "spent_usd": 0.0}
        assert changed["limits"]["in_flight"] is None
        assert made["budget"]["usd"] == 0.1
        gone = (await client.delete(f"{KEYS}/{made['id']}")).json()
        assert gone["revoked_at"] is not None
        assert (await client.get("/v1/batches", headers=bearer)).status_code == 401
        listed = (await client.get(KEYS)).json()["data"]
        assert listed[0]["id"] == made["id"]
        assert made["key"] not in (await client.get(KEYS)).text
        assert "digest" not in listed[0]

    with_client(main)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"budget_usd": 0}, 422),
        ({"scopes": []}, 422),
        ({"tenant": "a b"}, 422),
        ({"name": "\n"}, 400),
        ({"budget_window": "day"}, 400),
        ({"in_flight": 0}, 422),
        ({"expires_in_s": -1}, 422),
        ({"budget_window": "year"}, 422),
        ({"odd": 1}, 422),
    ],
)
def test_a_key_that_cannot_be_is_not_made(body: dict[str, Any], status: int) -> None:
    async def main(client: httpx2.AsyncClient) -> tuple[int, Any]:
        answer = await client.post(KEYS, json=body)
        return answer.status_code, (await client.get(KEYS)).json()["data"]

    assert with_client(main) == (status, [])


def test_a_key_that_is_not_there_is_neither_changed_nor_revoked() -> None:
    async def main(client: httpx2.AsyncClient) -> list[int]:
        place = f"{KEYS}/key_x"
        answers = [await client.patch(place, json={}), await client.delete(place)]
        return [answer.status_code for answer in answers]

    assert with_client(main) == [404, 404]


def test_a_window_without_a_budget_is_refused() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        made = (await client.post(KEYS, json={"scopes": ["admin"]})).json()
        bearer = {"authorization": f"Bearer {made['key']}"}
        place, window = f"{KEYS}/{made['id']}", {"budget_window": "day"}
        answer = await client.patch(place, json=window, headers=bearer)
        return answer.status_code, answer.json()["error"]["param"]

    assert with_client(main) == (400, "budget_window")
