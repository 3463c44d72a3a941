"""What the OpenAPI description says of jobs."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from headrace.service.core import ROUTE
from headrace.service.documenting import Form
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

ROUTES = {"type": "string", "enum": [ROUTE]}
ON_FAILURE = {"type": "string", "pattern": r"^(keep|all|0?\.[0-9]{0,9}[1-9])$"}
OUTCOMES: dict[str, Any] = {
    LINES[0]: {
        "schema": {"type": "string"},
        "example": '{"id":"batch_req_3f","custom_id":"a","response":{"status_code":200,'
        '"request_id":null,"body":{}},"error":null,"number":1,"state":"succeeded"}\n',
    }
}
"""Outcomes of items: lines of a batch's output file."""


class EstimateRequest(Form):
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
