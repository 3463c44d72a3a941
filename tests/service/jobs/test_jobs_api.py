"""Jobs over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from headrace.insight.estimate import Road, estimate
from headrace.model import Cost
from headrace.policies.budget import Tariff
from headrace.service.api import make_app
from headrace.service.keys import NewKey
from service_building import client_of, opened, with_client

JOBS = "/api/v1/jobs"
ITEM = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "m"}}
OTHER = {**ITEM, "custom_id": "b"}
NDJSON = {"content-type": "application/x-ndjson"}


async def submitted(client: httpx2.AsyncClient, **params: Any) -> Any:
    """Submit two items; return the job."""
    answer = await client.post(JOBS, json=[ITEM, OTHER], params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(**request: Any) -> tuple[int, Any]:
    """Return how a submit is refused."""

    async def main(client: httpx2.AsyncClient) -> httpx2.Response:
        answer = await client.post(JOBS, **request)
        assert (await client.get(JOBS)).json()["data"] == []
        return answer

    answer = with_client(main)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n"])
def test_a_job_is_made_of_lines(end: bytes) -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        body = json.dumps(ITEM).encode() + b"\n" + json.dumps(OTHER).encode() + end
        params = {"priority": "low", "on_failure": "0.5"}
        answer = await client.post(JOBS, content=body, headers=NDJSON, params=params)
        return answer.json()

    job = with_client(main)
    assert (job["counts"]["total"], job["priority"]) == (2, "low")
    assert job["on_failure"] == {"threshold": 0.5}


def test_submitting_again_under_one_key_returns_the_first_job() -> None:
    async def main(client: httpx2.AsyncClient) -> list[str]:
        headers = {"idempotency-key": "k"}
        sent = [
            await client.post(JOBS, json=[ITEM], headers=headers),
            await client.post(JOBS, json=[ITEM, OTHER], headers=headers),
            await client.post(JOBS, json=[ITEM]),
        ]
        return [answer.json()["id"] for answer in sent]

    first, again, another = with_client(main)
    assert first == again != another


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"json": []}, (400, "empty_job", None)),
        ({"json": {"a": 1}}, (400, "invalid_json", None)),
        ({"json": [ITEM, ITEM]}, (400, "duplicate_custom_id", "custom_id")),
        ({"json": [{**ITEM, "url": "//x"}]}, (400, "invalid_item", "url")),
        ({"json": [{**ITEM, "more": 1}]}, (400, "invalid_item", "more")),
        ({"content": b"{", "headers": NDJSON}, (400, "invalid_item", None)),
        ({"content": b"{}"}, (415, "unsupported_media_type", "content-type")),
        ({"json": [ITEM], "params": {"route": "x"}}, (400, "invalid_value", "route")),
        (
            {"json": [ITEM], "params": {"on_failure": "2"}},
            (400, "invalid_value", "on_failure"),
        ),
        (
            {"json": [ITEM], "params": {"priority": "x"}},
            (422, "invalid_value", "priority"),
        ),
        (
            {"json": [ITEM], "params": {"deadline_s": "0"}},
            (422, "invalid_value", "deadline_s"),
        ),
    ],
)
def test_what_is_wrong_with_a_submit_is_named_and_nothing_is_kept(
    request_: dict[str, Any], wanted: tuple[int, str, str | None]
) -> None:
    status, error = refused(**request_)
    assert (status, error["code"], error["param"]) == wanted


def test_a_job_is_paused_resumed_and_cancelled_and_its_outcomes_stream() -> None:
    async def main(client: httpx2.AsyncClient) -> list[Any]:
        id = (await submitted(client))["id"]
        assert (await client.post(f"{JOBS}/{id}/pause")).json()["state"] == "paused"
        assert (await client.post(f"{JOBS}/{id}/pause")).status_code == 409
        resumed = (await client.post(f"{JOBS}/{id}/resume")).json()
        assert resumed["state"] in ("queued", "in_progress")
        assert (await client.post(f"{JOBS}/{id}/cancel")).status_code == 200
        lines = (await client.get(f"{JOBS}/{id}/outcomes")).text.splitlines()
        first, second = (json.loads(line)["number"] for line in lines)
        path = f"{JOBS}/{id}/outcomes?after={first}"
        rest = (await client.get(path)).text.splitlines()
        assert rest == lines[1:]
        at_once = await client.get(f"{path}&follow=false")
        assert at_once.text.splitlines() == rest
        path = f"{JOBS}/{id}/items?after={first}"
        items = (await client.get(path)).json()["data"]
        assert [item["number"] for item in items] == [second]
        why = (await client.get(f"{JOBS}/{id}/why")).json()
        assert why["id"] == id
        assert "bound" in why
        assert (await client.get(f"{JOBS}/{id}/items/0/attempts")).status_code == 200
        assert (await client.get(f"{JOBS}/{id}/items/2/attempts")).status_code == 404
        again = (await client.post(f"{JOBS}/{id}/retry")).json()
        assert again["queued_again"] == 2
        return [json.loads(line) for line in lines]

    outcomes = with_client(main)
    assert {each["custom_id"] for each in outcomes} == {"a", "b"}
    assert {each["state"] for each in outcomes} == {"cancelled"}


def test_outcomes_without_following_end_at_once() -> None:
    async def main(client: httpx2.AsyncClient) -> str:
        id = (await submitted(client))["id"]
        await client.post(f"{JOBS}/{id}/pause")
        return (await client.get(f"{JOBS}/{id}/outcomes?follow=false")).text

    assert with_client(main) == ""


def test_a_list_is_paged_by_the_last_id() -> None:
    async def main(client: httpx2.AsyncClient) -> tuple[list[str], list[str]]:
        made = [(await submitted(client))["id"] for _ in range(3)]
        first = (await client.get(f"{JOBS}?limit=2")).json()
        assert first["has_more"]
        path = f"{JOBS}?limit=2&after={first['last_id']}"
        second = (await client.get(path)).json()
        assert not second["has_more"]
        return made, [job["id"] for job in first["data"] + second["data"]]

    made, listed = with_client(main)
    assert listed == made[::-1]


def test_jobs_of_one_idempotency_key_of_two_tenants_are_two() -> None:
    async def main() -> list[Any]:
        async with opened() as service, client_of(make_app(service)) as client:
            found = []
            for tenant in ("a", "b"):
                text, _ = await service.keys.make(NewKey(tenant))
                headers = {"authorization": f"Bearer {text}", "idempotency-key": "k"}
                answer = await client.post(JOBS, json=[ITEM], headers=headers)
                found.append(answer.json())
            return found

    first, second = asyncio.run(main())
    assert first["id"] != second["id"]
    assert (first["tenant"], second["tenant"]) == ("a", "b")


def test_an_estimate_reckons_with_the_limit_that_binds() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        body = {"calls": 120, "input_tokens": 1_000_000, "latency_s": 2}
        return (await client.post(f"{JOBS}/estimate", json=body)).json()

    found = with_client(main, rpm=60, in_flight=8)
    assert (found["bound"], found["seconds"]) == ("calls_per_minute", 122.0)
    assert found["usd"] is None


def test_an_estimate_without_any_limit_or_latency_says_that_it_does_not_know() -> None:
    found = estimate(10, 0, Cost(1, 1), None, [Road(8)], None)
    assert (found.seconds, found.calls_per_s) == (None, None)


def test_the_time_and_price_of_calls_add_up() -> None:
    roads = [Road(10), Road(10, tokens_per_minute=600)]
    found = estimate(90, 10, Cost(8, 2), 1.0, roads, Tariff(10**6, 10**6))
    assert found.seconds == pytest.approx(100 / 11 + 1.0, abs=1e-3)
    assert found.bound == "in_flight"
    assert found.usd == pytest.approx(90 * 10 * 1e-6)
