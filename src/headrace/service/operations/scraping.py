"""Where Prometheus reads the numbers of a service: `/metrics`."""

from __future__ import annotations

from fastapi import Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from headrace.service.auth import Admin
from headrace.service.core import Service
from headrace.service.documenting import refusals
from headrace.service.sifting import SiftingRouter

router = SiftingRouter(tags=["operations"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "All metrics, in Prometheus' text format.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "# TYPE headrace_items_total counter\n"
                    'headrace_items_total{outcome="succeeded",route="openai"} 7.0\n',
                }
            },
        },
        **refusals(401, 403, 503),
    },
)
async def read_metrics(request: Request, _: Admin) -> Response:
    """Return all metrics; with keys, one of scope `admin` is needed."""
    service: Service = request.app.state.service
    await service.metrics.gauges.read(service.home, service.hub)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
