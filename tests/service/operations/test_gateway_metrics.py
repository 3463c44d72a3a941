"""What /metrics says of a service that has worked, and what Prometheus says of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.service.api import make_app
from headrace.terms import Price
from service_building import client_of, opened
from upstreams import Asked, upstream

pytestmark = pytest.mark.live
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
USAGE = b'{"usage":{"prompt_tokens":1000,"completion_tokens":10}}'


async def answer(request: Asked) -> None:
    if b'"stream"' in request.body:
        await request.stream(b'data: {"choices":[]}\n\n', b"data: " + USAGE + b"\n\n")
        await request.end()
    elif b"wrong" in request.body:
        await request.reply(b"{}", 400)
    else:
        await request.reply(USAGE)


def promtool() -> str:
    """Return Prometheus' own checker; without it the test is skipped."""
    own = Path(__file__).parents[3] / "var" / "tools" / "bin" / "promtool"
    found = shutil.which("promtool") or (str(own) if own.exists() else None)
    if found is None:
        pytest.skip("no promtool here: install the package prometheus")
    return found


@pytest.fixture(scope="module")
def scraped() -> str:
    """Return the metrics after calls of every kind."""

    async def main() -> str:
        price = Price(Decimal(1), Decimal(2))
        async with (
            upstream(answer) as there,
            opened(base_url=(there.url,), price=(price,)) as service,
            client_of(make_app(service)) as client,
        ):
            path = "/v1/chat/completions"
            for more in ({}, {"stream": True}, {"wrong": 1}):
                await client.post(path, json={**CHAT, **more})
            items = [{"custom_id": str(i), "url": path, "body": CHAT} for i in range(3)]
            job = (await client.post("/api/v1/jobs", json=items)).json()["id"]
            await client.get(f"/api/v1/jobs/{job}/outcomes")
            await client.get("/nowhere")
            return (await client.get("/metrics")).text

    return asyncio.run(main())


def value(text: str, name: str, **labels: str) -> float:
    """Return a sample; labels that are not named may be any."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize(("origin", "count"), [("gateway", 2), ("jobs", 3)])
def test_tokens_and_cost_are_counted_by_where_the_calls_come_from(
    scraped: str, origin: str, count: int
) -> None:
    tokens = "headrace_tokens_total"
    assert value(scraped, tokens, origin=origin, direction="input") == 1000 * count
    assert value(scraped, tokens, origin=origin, direction="output") == 10 * count
    cost = value(scraped, "headrace_cost_usd_total", origin=origin)
    assert cost == pytest.approx(count * 0.00102)


def test_calls_that_failed_are_calls_too(scraped: str) -> None:
    assert value(scraped, "headrace_calls_total", origin="gateway") == 3
    assert value(scraped, "headrace_calls_failed_total", code="bad_call") == 1


def test_prometheus_finds_nothing_to_say_against_it(scraped: str) -> None:
    done = subprocess.run(
        [promtool(), "check", "metrics"],
        input=scraped,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
