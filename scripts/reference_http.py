"""The pages of the reference on what a service answers and what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from reference_words import table

from headrace.clock import SystemClock
from headrace.config import ServeSettings
from headrace.service.api import make_app
from headrace.service.core import open_service

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_OF_ALL = ("401", "403", "408", "413", "429", "500", "503")
"""What a key, a body or a fault leads to; it is said once."""
_TAGS = {
    "gateway": "Calls made at once",
    "files": "Files",
    "uploads": "Uploads: files in parts",
    "batches": "Batches",
    "jobs": "Jobs",
    "events": "Live events",
    "administration": "Administration",
    "operations": "Operations",
}


def http_page() -> Iterator[str]:
    """Give the lines of the page of all routes."""
    paths = asyncio.run(_described())["paths"]
    yield "# HTTP API"
    yield ""
    yield "The whole description, with schemas and examples, is `/openapi.json` of a service."
    yield "Paths below `/v1` answer without it, too. Every error has the form"
    yield '`{"error": {"message", "type", "param", "code"}}`. Beside what stands here, a route'
    yield f"may answer {', '.join(_OF_ALL)}."
    unknown = _tags(paths) - _TAGS.keys()
    if unknown:
        raise ValueError(f"tags without a title: {', '.join(sorted(unknown))}")
    for tag, title in _TAGS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield from table(
            ("Request", "What it does", "Answers"), list(_rows(paths, tag))
        )


def _tags(paths: dict[str, Any]) -> set[str]:
    operations = [each for methods in paths.values() for each in methods.values()]
    return {tag for operation in operations for tag in operation["tags"]}


def _rows(paths: dict[str, Any], tag: str) -> Iterator[tuple[str, str, str]]:
    for path, operations in paths.items():
        for method in _METHODS:
            operation = operations.get(method, {})
            if tag in operation.get("tags", ()):
                statuses = [s for s in operation["responses"] if s not in _OF_ALL]
                said = operation["description"].partition("\n")[0]
                yield f"`{method.upper()} {path}`", said, ", ".join(statuses)


def metrics_page() -> Iterator[str]:
    """Give the lines of the page of all metrics."""
    yield "# Metrics"
    yield ""
    yield "What `/metrics` of a service shows. Seconds, US dollars and ratios are in the name;"
    yield "a counter ends in `_total`. The label `origin` is `gateway` or `jobs`."
    yield ""
    rows = sorted(asyncio.run(_counted()))
    yield from table(("Metric", "Kind", "Labels", "Meaning"), rows)


async def _described() -> dict[str, Any]:
    async with _service() as service:
        return make_app(service).openapi()


async def _counted() -> list[tuple[str, str, str, str]]:
    async with _service() as service:
        metrics = service.metrics
        await metrics.gauges.read(service.home, service.hub)
        kept = [*vars(metrics).values(), *vars(metrics.requests).values()]
        counters = [each for each in kept if isinstance(each, MetricWrapperBase)]
        read = [_row(family, family) for family in metrics.gauges.collect()]
        return read + [_row(each, *each.describe()) for each in counters]


def _row(labelled: object, family: Metric) -> tuple[str, str, str, str]:
    names = getattr(labelled, "_labelnames", ())
    end = "_total" if family.type == "counter" else ""
    labels = ", ".join(f"`{name}`" for name in names)
    return f"`{family.name}{end}`", family.type, labels, family.documentation


def _service() -> Any:
    settings = ServeSettings(store=":memory:", base_url=("http://127.0.0.1:9",))
    return open_service(settings, lambda endpoint: None, SystemClock())
