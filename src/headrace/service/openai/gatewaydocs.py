"""What the OpenAPI description says of the gateway."""

from __future__ import annotations

from typing import Any, NamedTuple

from headrace.service.documenting import events, refusals
from headrace.service.openai.asking import DEADLINES, PRIORITY

_MODEL = {"type": "string", "description": "Which model is asked."}
_STREAM = {
    "type": "boolean",
    "default": False,
    "description": "Answer in server-sent events, as they come from the provider.",
}
_TEXT = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {}, "minItems": 1}],
}
_USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


class Described(NamedTuple):
    """How a call is described: its main field, an example, and one of an answer."""

    field: str
    schema: dict[str, Any]
    asked: dict[str, Any]
    answered: dict[str, Any]
    events: str = ""
    """An example of a streamed answer; "" if there is none."""


CHAT = Described(
    "messages",
    {"type": "array", "items": {"type": "object"}, "minItems": 1},
    {
        "model": "m",
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 8,
    },
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1795657539,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!"},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    },
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795657539,'
    '"model":"m","choices":[{"index":0,"delta":{"content":"Hello!"},'
    '"finish_reason":null}]}\n\ndata: [DONE]\n\n',
)
COMPLETIONS = Described(
    "prompt",
    _TEXT,
    {"model": "m", "prompt": "Once upon", "max_tokens": 8},
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1795657539,
        "model": "m",
        "choices": [{"index": 0, "text": " a time", "finish_reason": "stop"}],
        "usage": _USAGE,
    },
    'data: {"id":"cmpl-1","object":"text_completion","created":1795657539,"model":"m",'
    '"choices":[{"index":0,"text":" a time","finish_reason":null}]}\n\n'
    "data: [DONE]\n\n",
)
EMBEDDINGS = Described(
    "input",
    _TEXT,
    {"model": "m", "input": ["a text"]},
    {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    },
)
RESPONSES = Described(
    "input",
    _TEXT,
    {"model": "m", "input": "Say hello.", "max_output_tokens": 16},
    {
        "id": "resp_1",
        "object": "response",
        "created_at": 1795657539,
        "status": "completed",
        "model": "m",
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Hello!", "annotations": []}
                ],
            }
        ],
        "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11},
    },
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
    '"delta":"Hello!"}\n\n',
)

_REFUSED = (401, 404, 415, "4XX", 502, 504, "5XX")


def documented(described: Described) -> dict[str, Any]:
    """Return how a call is described: its body, its headers, its answers."""
    properties: dict[str, Any] = {"model": _MODEL, described.field: described.schema}
    answers: dict[str, Any] = {
        "application/json": {
            "schema": {"type": "object"},
            "example": described.answered,
        }
    }
    if described.events:
        properties["stream"] = _STREAM
        answers |= events(described.events)
    schema = {
        "type": "object",
        "description": "Passed to the provider as it is, with whatever else it takes.",
        "properties": properties,
        "required": ["model", described.field],
        "additionalProperties": True,
    }
    body = {"schema": schema, "example": described.asked}
    return {
        "responses": {
            200: {
                "description": "What the provider answers, as it came.",
                "content": answers,
            },
            **refusals(*_REFUSED),
        },
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": body}},
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
        # What official clients say by themselves never makes a call fail.
        "schema": {"type": "number", "exclusiveMinimum": 0}
        if name == DEADLINES[0]
        else {"type": "string"},
    }
