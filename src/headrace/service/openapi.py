"""The OpenAPI description: what each route says of itself, and what is true of all.

Each route documents what it alone answers. What follows from its kind is added here: a
key may be refused, a body may be no JSON, too long or too slow, a service may fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from headrace.service.documenting import WORDS

_SCHEME = "key"
_SCHEMES = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "hr_…",
        "description": "A key made by `headrace keys add` or `POST /api/v1/keys`. "
        "While no key was ever made, none is needed.",
    }
}
_OF_KEYS = ("403", "429")
_OF_BODIES = ("400", "408", "413", "415")
_OF_ALL = ("500", "503")
_ENVELOPE = {
    "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}
}
_FRAMEWORKS = ("HTTPValidationError", "ValidationError")
_HEADERS = {
    "RequestId": {
        "description": "The id of the request in the log of the service.",
        "schema": {"type": "string", "example": "req_0123456789abcdef01234567"},
    }
}
_OPENAI = "/v1/"
_READS = ("get", "head")
_LINKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "submit_job": (
        "job_id",
        (
            "retrieve_job",
            "list_items",
            "stream_outcomes",
            "explain_job",
            "cancel_job",
            "pause_job",
            "resume_job",
            "retry_job",
        ),
    ),
    "create_file": ("file_id", ("retrieve_file", "file_content", "delete_file")),
    "create_batch": ("batch_id", ("retrieve_batch", "cancel_batch", "retry_batch")),
}
"""What can be done with what a route makes, by its id."""
_Operation = dict[str, Any]
_Schema = Mapping[str, Any]


def operation_id(route: APIRoute) -> str:
    """Return the name of a route in the description: that of its function."""
    return route.name


class DescribedApp(FastAPI):
    """An application whose description is whole.

    A route that documents 401 asks for a key.
    """

    def openapi(self) -> dict[str, Any]:
        """Return the description; made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            components = described["components"]
            components["securitySchemes"] = _SCHEMES
            components["headers"] = _HEADERS
            for name in _FRAMEWORKS:
                components["schemas"].pop(name, None)
            for schema in components["schemas"].values():
                _give_back_nulls(schema.get("example"), schema, components["schemas"])
            for path, methods in described["paths"].items():
                for method, operation in methods.items():
                    _complete(path, method, operation)
        return super().openapi()


def _complete(path: str, method: str, operation: _Operation) -> None:
    """Add to an operation what is true of all of its kind."""
    answers = operation["responses"]
    statuses = [*_OF_ALL]
    if "401" in answers:
        operation["security"] = [{_SCHEME: []}]
        statuses += _OF_KEYS
    if method not in _READS:
        statuses += _OF_BODIES if "requestBody" in operation else ("413",)
    answers.pop("422", None)  # FastAPI's own words, and not always true
    if _may_be_invalid(operation):
        statuses.append("400" if path.startswith(_OPENAI) else "422")
    for status in statuses:
        refusal = {"description": WORDS[int(status)], "content": _ENVELOPE}
        answers.setdefault(status, refusal)
    for answer in answers.values():
        header = {"$ref": "#/components/headers/RequestId"}
        answer.setdefault("headers", {})["x-request-id"] = header
    operation["responses"] = dict(sorted(answers.items()))
    if operation["operationId"] in _LINKS:
        answers["200"]["links"] = _links(*_LINKS[operation["operationId"]])


def _give_back_nulls(example: Any, schema: _Schema, known: Mapping[str, Any]) -> None:
    """Put nulls into an example again, wherever the framework has left them out."""
    for each in schema.get("anyOf", (schema,)):
        found = known[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        if isinstance(example, list):
            for part in example:
                _give_back_nulls(part, found.get("items", {}), known)
        elif isinstance(example, dict):
            for name in found.get("required", ()):
                example.setdefault(name, None)
            for name, inner in found.get("properties", {}).items():
                _give_back_nulls(example.get(name), inner, known)


def _may_be_invalid(operation: _Operation) -> bool:
    """Can a request have another form than the description demands?"""
    parameters = operation.get("parameters", ())
    return "requestBody" in operation or not all(map(_is_any_text, parameters))


def _is_any_text(parameter: _Schema) -> bool:
    """Is this a part of a path that may be anything?"""
    schema: _Schema = parameter["schema"]
    is_free = schema.keys() <= {"type", "title", "description"}
    is_text = schema.get("type") == "string"
    return is_free and is_text and parameter["in"] == "path"


def _links(parameter: str, operations: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: {
            "operationId": name,
            "parameters": {parameter: "$response.body#/id"},
        }
        for name in operations
    }
