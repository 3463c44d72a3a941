"""How each dialect asks, estimates and understands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadReply, ConfigError
from headrace.model import Cost, Usage
from headrace.providers.dialects import DIALECTS, dialect_named
from headrace.providers.dialects.estimate import (
    ATTACHMENT_TOKENS,
    DEFAULT_OUTPUT_TOKENS,
)
from headrace.wire import HttpRequest

OPENAI = dialect_named("openai")
HTTP = dialect_named("http")
LLM = [dialect for dialect in DIALECTS if dialect.name != "http"]


def post(path: str = "/v1/chat/completions", **body: object) -> HttpRequest:
    return HttpRequest(path, json.dumps(body).encode())


def usage(**body: object) -> Usage | None:
    return OPENAI.usage(json.dumps(body).encode())


def test_an_unknown_dialect_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="openai, anthropic, azure, http"):
        dialect_named("grpc")


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("openai", {"Authorization": "Bearer k"}),
        ("anthropic", {"x-api-key": "k", "anthropic-version": "2023-06-01"}),
        ("azure", {"api-key": "k"}),
        ("http", {"Authorization": "Bearer k"}),
    ],
)
def test_each_dialect_carries_the_key_its_own_way(
    name: str, headers: dict[str, str]
) -> None:
    assert dict(dialect_named(name).auth_headers("k")) == headers


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_without_a_key_no_header_speaks_of_one(dialect: object) -> None:
    names = [name for name, _ in dialect.auth_headers(None)]  # type: ignore[attr-defined]
    assert not {"Authorization", "x-api-key", "api-key"} & set(names)


@pytest.mark.parametrize(
    ("limits", "output"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 60, "max_tokens": 50}, 60),
        ({"max_output_tokens": 70}, 70),
        ({"max_tokens": 50, "n": 3}, 150),
        ({}, DEFAULT_OUTPUT_TOKENS),
        ({"max_tokens": "many"}, DEFAULT_OUTPUT_TOKENS),
    ],
)
def test_the_output_counts_the_most_that_is_allowed(
    limits: dict[str, object], output: int
) -> None:
    _, cost = OPENAI.describe(post(model="m", messages=[], **limits))
    assert cost.output_tokens == output


def test_the_model_is_read_from_the_body() -> None:
    assert OPENAI.describe(post(model="m-1"))[0] == "m-1"


def test_the_input_counts_four_characters_a_token() -> None:
    request = post(model="m", input="x" * 4000)
    _, cost = OPENAI.describe(request)
    assert request.body is not None
    assert cost.input_tokens == -(-len(request.body) // 4)


def test_embeddings_cost_no_output() -> None:
    _, cost = OPENAI.describe(post("/v1/embeddings", model="m", input="x"))
    assert cost.output_tokens == 0


def test_an_image_costs_tokens_but_not_its_bytes() -> None:
    image = {"url": "data:image/png;base64," + "iVBOR" * 100_000}
    _, cost = OPENAI.describe(post(model="m", messages=[image]))
    assert ATTACHMENT_TOKENS <= cost.input_tokens < ATTACHMENT_TOKENS + 100


def test_plain_http_costs_no_tokens() -> None:
    assert HTTP.describe(post(model="m")) == ("", Cost())


@given(st.binary(max_size=200))
def test_no_body_breaks_the_estimate(body: bytes) -> None:
    _, cost = OPENAI.describe(HttpRequest("/v1/x", body))
    assert cost.input_tokens >= 0
    OPENAI.streams(HttpRequest("/v1/x", body))


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        (
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": None,
                "output_tokens": 4,
            },
            Usage(13, 4),
        ),
        (None, None),
        ("odd", None),
    ],
)
def test_tokens_are_read_in_every_form(counts: object, found: Usage | None) -> None:
    assert usage(id="x", usage=counts) == found


def test_an_answer_without_tokens_is_an_answer() -> None:
    assert usage(error=None) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>sorry</html>",
        b"[1]",
        b'"text"',
        b'{"a": 1',
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'{"error": {"message": "broke"}}',
    ],
)
def test_what_is_no_answer_of_a_model_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply) as caught:
        OPENAI.usage(body)
    assert caught.value.body == body


def test_in_plain_http_any_body_is_an_answer() -> None:
    assert HTTP.usage(b"\xff\xfe") is None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b' {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}', (5, 6)),
        (b' {"type":"message_start","message":{"usage":{"input_tokens":5}}}', (5, 0)),
        (b' {"type":"message_delta","usage":{"output_tokens":6}}', (0, 6)),
        (b' {"response":{"usage":{"input_tokens":5,"output_tokens":6}}}', (5, 6)),
        (b' {"choices":[],"usage":null}', None),
        (b" [DONE]", None),
    ],
)
def test_tokens_are_read_from_the_events_of_a_stream(
    data: bytes, found: tuple[int, int] | None
) -> None:
    assert OPENAI.event_usage(data) == (None if found is None else Usage(*found))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"stream": true}', True),
        (b'{"stream": false}', False),
        (b'{"stream": null}', False),
        (b'{"text": "\\"stream\\": true"}', False),
        (b'{"inner": {"stream": true}}', False),
        (None, False),
    ],
)
def test_a_stream_is_asked_for_by_the_body_alone(
    body: bytes | None, found: bool
) -> None:
    assert OPENAI.streams(HttpRequest("/v1/x", body)) is found


@pytest.mark.parametrize("dialect", LLM, ids=lambda d: d.name)
def test_calls_of_a_model_may_be_repeated(dialect: object) -> None:
    assert dialect.repeatable(post())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "may"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False)],
)
def test_plain_http_repeats_only_what_http_calls_idempotent(
    method: str, may: bool
) -> None:
    assert HTTP.repeatable(HttpRequest("/x", method=method)) is may


def test_the_models_of_an_api_may_be_read() -> None:
    assert OPENAI.check(HttpRequest("/v1/models", method="GET")) is None


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("/v1/chat/completions", method="GET"),
        HttpRequest("/v1/models", method="GET", headers=(("Cookie", "x"),)),
        HttpRequest("v1/chat"),
        HttpRequest("//evil.example/v1"),
        HttpRequest("/v1/../x"),
        HttpRequest("/v1/chat?x=1"),
        HttpRequest("/v1/a b"),
        HttpRequest("/v1/x\r\nHost: evil"),
        HttpRequest("http://evil.example/v1"),
        HttpRequest("/v1/x", headers=(("Authorization", "Bearer x"),)),
        HttpRequest("/v1/x", headers=(("x-api-key", "x"),)),
        HttpRequest("/v1/x", headers=(("Host", "evil"),)),
        HttpRequest("/v1/x", headers=(("A", "b\r\nC: d"),)),
        HttpRequest("/v1/x", headers=(("A b", "c"),)),
    ],
)
def test_what_could_leave_the_host_or_carry_a_key_is_refused(
    request_: HttpRequest,
) -> None:
    assert OPENAI.check(request_)


def test_plain_http_allows_methods_and_a_query() -> None:
    request = HttpRequest("/items?day=2026-11-22", method="GET", headers=(("A", "b"),))
    assert HTTP.check(request) is None
    assert HTTP.check(HttpRequest("/items", method="TRACE"))


def test_an_ordinary_call_of_a_model_is_allowed() -> None:
    assert OPENAI.check(post(model="m")) is None
