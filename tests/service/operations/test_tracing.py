from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import headrace
from headrace import FunctionRoute, Retry
from headrace.service.operations.tracing import traced
from headrace.telemetry.tracing import Spans


class Reluctant:
    """Fails the first time."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, item: int) -> int:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("not yet")
        return item


def spans_of_one_call() -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    spans = Spans(SimpleSpanProcessor(kept), "openai")

    async def main() -> Any:
        retry = Retry(cap_s=0.01)
        route = FunctionRoute("f", Reluctant().answer, retry=retry)
        async with headrace.open(":memory:", [route], tracing=spans.tracing) as home:
            return await home.call(1, "f")

    assert asyncio.run(main()).ok
    spans.close()
    return list(kept.get_finished_spans())


def test_a_call_has_a_span_and_each_of_its_tries_one_below() -> None:
    *attempts, call = spans_of_one_call()
    assert [span.name for span in attempts] == ["attempt", "attempt"]
    assert call.context is not None
    parents = {span.parent.span_id for span in attempts if span.parent is not None}
    assert parents == {call.context.span_id}
    failed, answered = (dict(span.attributes or {}) for span in attempts)
    assert "error.type" in failed
    assert "error.type" not in answered
    told = dict(call.attributes or {})
    assert told["gen_ai.provider.name"] == "openai"
    assert told["headrace.attempts"] == 2


def test_nothing_is_traced_unless_asked_for() -> None:
    with traced({}, "openai") as tracing:
        assert tracing is None


def test_opentelemetrys_variable_asks_for_it() -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with traced(asked, "azure") as tracing:
        assert tracing is not None
