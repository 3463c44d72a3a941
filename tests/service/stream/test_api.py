from __future__ import annotations

from typing import Any

import httpx2

from service_building import with_client


def test_the_events_of_an_unknown_job_or_batch_are_not_found() -> None:
    async def main(client: httpx2.AsyncClient) -> list[Any]:
        paths = ("/api/v1/jobs/job_x/events", "/v1/batches/batch_x/events")
        return [await client.get(path) for path in paths]

    for answer in with_client(main):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


def test_streams_are_described_with_an_example() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        return (await client.get("/openapi.json")).json()

    told = with_client(main)["paths"]["/api/v1/events"]["get"]["responses"]["200"]
    assert "event: snapshot" in told["content"]["text/event-stream"]["example"]
