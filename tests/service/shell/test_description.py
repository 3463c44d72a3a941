"""The OpenAPI description is whole: summaries, schemas, and examples that hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from headrace.service.api import make_app
from service_building import opened

Place = tuple[str, dict[str, Any]]


@cache
def described() -> dict[str, Any]:
    """Return the description."""

    async def main() -> dict[str, Any]:
        async with opened() as service:
            return make_app(service).openapi()

    return asyncio.run(main())


def operations() -> Iterator[Place]:
    """Give each operation and its name."""
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def media() -> Iterator[Place]:
    """Give each body that is asked for or answered."""
    for name, operation in operations():
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {kind}", body
        for status, answer in operation["responses"].items():
            for kind, body in answer.get("content", {}).items():
                yield f"{name} {status} {kind}", body


def examples_of(body: dict[str, Any]) -> list[Any]:
    """Return the examples of a body, its schema's included."""
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schema = described()["components"]["schemas"].get(name, {})
    places = (body, schema)
    return [place["example"] for place in places if "example" in place]


def test_each_operation_says_what_it_does_and_what_it_answers() -> None:
    for name, operation in operations():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert {"200", "500"} <= operation["responses"].keys(), name
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_each_body_has_a_schema_and_an_example() -> None:
    for name, body in media():
        assert body.get("schema") or body.get("itemSchema"), name
        assert examples_of(body), name


def test_the_examples_are_valid() -> None:
    components = {"components": described()["components"]}
    count = 0
    for name, body in media():
        validator = jsonschema_rs.validator_for(components | body.get("schema", {}))
        for example in examples_of(body):
            assert not [e.message for e in validator.iter_errors(example)], name
            count += 1
    assert count > 200


def test_a_parameter_says_what_it_is_of() -> None:
    for name, operation in operations():
        for parameter in operation.get("parameters", ()):
            assert parameter["schema"], (name, parameter["name"])


def test_links_lead_to_operations() -> None:
    ids = {operation["operationId"] for _, operation in operations()}
    found = [
        link["operationId"]
        for _, operation in operations()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert found
    assert set(found) <= ids


@pytest.mark.parametrize("word", ["HTTPValidationError", "ValidationError"])
def test_nothing_is_left_of_the_frameworks_own_errors(word: str) -> None:
    assert word not in described()["components"]["schemas"]
    assert word not in str(described()["paths"])
