"""What the OpenAPI description says of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.service.documenting import refusals
from headrace.service.openai.asking import DEADLINES, PRIORITY

_MODEL = {"type": "string", "description": "Which model is asked."}
_STREAM = {
    "type": "boolean",
    "default": False,
    "description": "Answer in server-sent events, as they come from the provider.",
}
_MESSAGES = [{"role": "user", "content": "Say hello."}]

BODIES: Mapping[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": _MESSAGES, "max_tokens": 8},
    "completions": {"model": "m", "prompt": "Once upon", "max_tokens": 8},
    "embeddings": {"model": "m", "input": ["a text"]},
    "responses": {"model": "m", "input": "Say hello.", "max_output_tokens": 8},
}
"""An example of each call."""

_REFUSED = (400, 401, 403, 404, 408, 413, 415, 429, "4XX", 502, 503, 504, "5XX")


def documented(example: dict[str, Any], *, streams: bool) -> dict[str, Any]:
    """Return how a call is described: its body, its headers, its answers.

    Args:
        example: of a body.
        streams: may the answer come in events?
    """
    properties: dict[str, Any] = {"model": _MODEL}
    answers: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if streams:
        properties["stream"] = _STREAM
        answers["text/event-stream"] = {"schema": {"type": "string"}}
    schema = {
        "type": "object",
        "description": "Passed to the provider as it is.",
        "properties": properties,
        "required": ["model"],
        "additionalProperties": True,
    }
    return {
        "responses": {
            200: {
                "description": "What the provider answers, as it came.",
                "content": answers,
            },
            **refusals(*_REFUSED),
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "example": example}},
            },
            "parameters": [_priority(), *map(_deadline, DEADLINES)],
        },
    }


def _priority() -> dict[str, Any]:
    return {
        "name": PRIORITY,
        "in": "header",
        "description": "How urgent the call is.",
        "schema": {
            "type": "string",
            "enum": ["low", "normal", "high", "urgent"],
            "default": "high",
        },
    }


def _deadline(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "description": "Seconds that the client waits for the answer to begin.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    }
