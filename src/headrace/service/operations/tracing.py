"""Whether calls are traced, and where their spans go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from headrace.errors import ConfigError
from headrace.ports.tracing import Tracing

_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROVIDERS = {"azure": "azure.ai.openai"}


@contextmanager
def traced(environ: Mapping[str, str], dialect: str) -> Iterator[Tracing | None]:
    """Send spans over OTLP while the block lasts; None if nobody has asked for it.

    Args:
        environ: asks for it by OpenTelemetry's own variables, which say where to.
        dialect: of the endpoints.

    Raises:
        ConfigError: the extra `tracing` is not installed.
    """
    asked = next((name for name in _ASKED_BY if environ.get(name)), None)
    if asked is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield None
        return
    try:  # an extra, and slow to import
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from headrace.telemetry.tracing import Spans
    except ImportError:
        raise ConfigError(
            f"{asked} asks for traces, which need: pip install 'headrace[tracing]'"
        ) from None
    processor = BatchSpanProcessor(OTLPSpanExporter())
    spans = Spans(processor, _PROVIDERS.get(dialect, dialect))
    try:
        yield spans.tracing
    finally:
        spans.close()
