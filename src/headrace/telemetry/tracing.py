"""Spans of calls for OpenTelemetry: one for each call, with one for each try below it.

Names and attributes are those of the `gen_ai` conventions. Prompts and answers are never
recorded. A streamed answer's spans end with its first byte.
Source: OpenTelemetry semantic conventions for generative AI client spans.
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from headrace.errors import CallError
from headrace.model import Call, Handler, Reply
from headrace.ports.tracing import Tracing

_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}


class Spans:
    """Makes spans of the calls of one service.

    Args:
        processor: takes the spans to where they are kept.
        provider_name: `gen_ai.provider.name`, such as `openai`.
    """

    def __init__(self, processor: SpanProcessor, provider_name: str) -> None:
        named = Resource.create({"service.name": "headrace"})
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer("headrace")
        self._provider_name = provider_name

    @property
    def tracing(self) -> Tracing:
        """The layers that make the spans."""
        return Tracing(self._calls, self._attempts)

    def close(self) -> None:
        """Send what was not sent yet; blocks for some seconds at most."""
        self._provider.shutdown()

    def _calls(self, handler: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            operation = _operation(call)
            name = f"{operation} {call.model}".strip()
            with self._tracer.start_as_current_span(
                name,
                kind=SpanKind.CLIENT,
                attributes={
                    "gen_ai.operation.name": operation,
                    "gen_ai.provider.name": self._provider_name,
                    "gen_ai.request.model": call.model,
                    "headrace.call.id": call.id,
                    "headrace.item.index": call.index,
                    "headrace.priority": call.priority.name.lower(),
                },
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                reply = await _answered(handler, call, span)
                span.set_attribute("headrace.attempts", call.trace.attempts)
                return reply

        return handle

    def _attempts(self, handler: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            with self._tracer.start_as_current_span(
                "attempt",
                kind=SpanKind.CLIENT,
                attributes={"headrace.call.id": call.id},
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    return await _answered(handler, call, span)
                finally:
                    span.set_attribute("headrace.attempt", call.trace.tries)
                    span.set_attribute("headrace.endpoint", call.trace.endpoint)

        return handle


async def _answered(handler: Handler, call: Call, span: Span) -> Reply:
    """Make a call and tell its span how it went."""
    try:
        reply = await handler(call)
    except CallError as error:
        span.set_attribute("error.type", str(error.code))
        span.set_status(Status(StatusCode.ERROR, str(error.code)))
        raise
    if reply.usage is not None:
        span.set_attribute("gen_ai.usage.input_tokens", reply.usage.input_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", reply.usage.output_tokens)
    if reply.status is not None:
        span.set_attribute("http.response.status_code", reply.status)
    return reply


def _operation(call: Call) -> str:
    path = str(getattr(call.payload, "path", "")).partition("?")[0]
    return _OPERATIONS.get(path.removeprefix("/v1"), "call")
