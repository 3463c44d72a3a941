"""What the OpenAPI description says of jobs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headrace.service.documenting import Answers, refusals
from headrace.service.jobs.intake import JSON, LINES

_ITEM = {
    "custom_id": "a",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": [{"role": "user", "content": "Say hello."}]},
}
_LINE = (
    '{"custom_id":"a","url":"/v1/chat/completions","body":{"model":"m",'
    '"messages":[{"role":"user","content":"Say hello."}]}}\n'
)
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {"type": "array", "items": {"type": "object"}, "minItems": 1},
                "example": [_ITEM],
            },
            **{
                kind: {"schema": {"type": "string"}, "example": _LINE} for kind in LINES
            },
        },
    }
}
"""The items of a job."""

EXAMPLE: dict[str, Any] = {
    "object": "job",
    "id": "job_4xk2qv7m",
    "route": "openai",
    "state": "in_progress",
    "counts": {"total": 2, "queued": 1, "running": 1, "succeeded": 0},
    "version": 2,
    "created_at": 1795657539.5,
    "priority": "normal",
    "tenant": "default",
}


def one(*statuses: int) -> Answers:
    """Return how a route that answers with a job documents its answers."""
    return answers("The job.", EXAMPLE, *statuses)


def answers(description: str, example: Any, *statuses: int) -> Answers:
    """Return how a route documents its answers; refusals of keys are among them."""
    good = {"description": description, "content": {JSON: {"example": example}}}
    return {200: good, **refusals(401, 403, 422, 429, *statuses)}


class EstimateRequest(BaseModel):
    """Calls that might be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"calls": 1000, "input_tokens": 200, "output_tokens": 100}
        },
    )

    calls: int = Field(ge=1, le=10**9, description="How many.")
    input_tokens: int = Field(default=0, ge=0, le=10**9, description="Of one call.")
    output_tokens: int = Field(default=0, ge=0, le=10**9, description="Of one call.")
    model: str = Field(default="", max_length=256, description="For its price.")
    latency_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Seconds of one call; by default as the newest answers took.",
    )
