from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

import headrace
from headrace.clock import SystemClock
from headrace.errors import StoreError
from headrace.events import TryFailed
from headrace.service.api import make_app
from headrace.service.operations.metrics import MAX_ENDPOINTS, Metrics
from headrace.service.stream.hub import Hub
from service_building import client_of, opened, with_client
from stream_building import Steps


def test_a_service_that_answers_lives() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        return await client.get("/health/live")

    assert with_client(main).json() == {"status": "live"}


def test_a_service_that_can_work_is_ready() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        return await client.get("/health/ready")

    answer = with_client(main)
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"store": "ok", "engine": "ok", "files": "ok"}


class LostFiles:
    """A place for files that is gone."""

    async def size(self, id: str) -> int | None:
        raise StoreError("the disk is gone")


def test_what_is_wrong_is_named() -> None:
    async def main() -> httpx2.Response:
        async with opened() as service:
            app = make_app(service)
            service.files, files = LostFiles(), service.files  # type: ignore[assignment]
            await service.home.drain(5.0)
            async with client_of(app) as client:
                answer = await client.get("/health/ready")
            service.files = files
            return answer

    answer = asyncio.run(main())
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert checks["store"] == "ok"
    assert checks["engine"] == "it is stopping"
    assert checks["files"] == "it cannot be used (StoreError)"


def scraped(tenant: str = "") -> str:
    """Return the metrics of a home that has done a job."""

    async def main() -> str:
        metrics, steps = Metrics(), Steps()
        async with headrace.open(":memory:", [steps.route]) as home:
            home.changes.watch(metrics)
            await (await home.submit(range(7), "steps", tenant=tenant)).wait()
            await metrics.gauges.read(home, Hub(home, SystemClock()))
            return metrics.text().decode()

    return asyncio.run(main())


def test_outcomes_are_counted_by_route_and_end() -> None:
    line = 'headrace_items_total{outcome="succeeded",route="steps"} 7.0'
    assert line in scraped().splitlines()


def test_no_label_holds_what_users_may_choose_freely() -> None:
    assert "tenant-1" not in scraped("tenant-1")


def test_prometheus_can_read_all_and_its_conventions_are_kept() -> None:
    families = list(text_string_to_metric_families(scraped()))
    assert {f.name for f in families} >= {
        "headrace_items",
        "headrace_wait_seconds",
        "headrace_calls_waiting",
        "headrace_endpoint_in_flight_limit",
        "headrace_listeners",
    }
    for family in families:
        assert family.name.startswith("headrace_")
        assert family.documentation.endswith(".")
        counts = [s.name for s in family.samples if not s.name.endswith("_created")]
        is_total = [name.endswith("_total") for name in counts]
        assert all(is_total) if family.type == "counter" else not any(is_total)


def test_endpoints_in_labels_are_bounded() -> None:
    metrics = Metrics()
    for number in range(2 * MAX_ENDPOINTS):
        metrics.tried(TryFailed("i", "timed_out", "late", f"e{number}", None))
    assert metrics.text().count(b"headrace_calls_failed_total{") == MAX_ENDPOINTS + 1


def test_metrics_are_answered_in_prometheus_format() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        return await client.get("/metrics")

    answer = with_client(main)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b"headrace_endpoint_state" in answer.content


def test_requests_are_counted_by_the_path_that_answers_them() -> None:
    async def main(client: httpx2.AsyncClient) -> Any:
        for name in ("secret-1", "secret-2"):
            await client.get(f"/v1/batches/batch_{name}")
            await client.get(f"/{name}")
            await client.request(name.upper(), "/health/live")
        return await client.get("/metrics")

    lines = with_client(main).text.splitlines()
    total = "headrace_http_requests_total"
    assert (
        f'{total}{{method="GET",path="/batches/{{batch_id}}",status="404"}} 2.0'
        in lines
    )
    assert f'{total}{{method="GET",path="none",status="404"}} 2.0' in lines
    assert f'{total}{{method="other",path="/health/live",status="405"}} 2.0' in lines
    assert not [line for line in lines if "secret" in line.lower()]
