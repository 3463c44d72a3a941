"""Which error an unsuccessful answer stands for."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ErrorCode,
    Overloaded,
    Throttled,
    TimedOut,
    TransientError,
    Unauthorised,
    UnknownModel,
)
from headrace.providers.dialects import dialect_named

NOW = 1_795_312_800.0


def classify(
    status: int, body: object = b"", dialect: str = "openai", **headers: str
) -> CallError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return dialect_named(dialect).classify(status, named, raw, NOW)


def openai_error(message: str = "no", kind: str = "", code: str = "") -> object:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, BadCall, ErrorCode.BAD_CALL),
        (401, Unauthorised, ErrorCode.UNAUTHORISED),
        (402, Unauthorised, ErrorCode.QUOTA_SPENT),
        (403, Unauthorised, ErrorCode.UNAUTHORISED),
        (404, UnknownModel, ErrorCode.UNKNOWN_MODEL),
        (405, BadCall, ErrorCode.BAD_CALL),
        (408, TimedOut, ErrorCode.TIMED_OUT),
        (409, TransientError, ErrorCode.CONFLICT),
        (413, BadCall, ErrorCode.BAD_CALL),
        (422, BadCall, ErrorCode.BAD_CALL),
        (425, TimedOut, ErrorCode.TIMED_OUT),
        (429, Throttled, ErrorCode.RATE_LIMITED),
        (499, TimedOut, ErrorCode.TIMED_OUT),
        (500, TransientError, ErrorCode.SERVER_ERROR),
        (501, BadCall, ErrorCode.BAD_CALL),
        (502, TransientError, ErrorCode.SERVER_ERROR),
        (503, Overloaded, ErrorCode.OVERLOADED),
        (504, TransientError, ErrorCode.SERVER_ERROR),
        (529, Overloaded, ErrorCode.OVERLOADED),
    ],
)
def test_each_status_has_its_error(
    status: int, kind: type[CallError], code: ErrorCode
) -> None:
    error = classify(status, openai_error())
    assert (type(error), error.code, error.status) == (kind, code, status)


def test_in_plain_http_an_unknown_path_is_a_bad_call() -> None:
    assert type(classify(404, dialect="http")) is BadCall


@pytest.mark.parametrize("code", ["model_not_found", "DeploymentNotFound"])
def test_a_400_that_names_the_model_is_an_unknown_model(code: str) -> None:
    assert type(classify(400, openai_error(code=code))) is UnknownModel


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, openai_error(code="insufficient_quota")),
        (429, openai_error(kind="billing_not_active")),
        (403, openai_error(code="billing_hard_limit_reached")),
        (400, {"error": {"message": "Your credit balance is too low to go on"}}),
    ],
)
def test_a_spent_account_is_no_throttling(status: int, body: object) -> None:
    error = classify(status, body)
    assert (type(error), error.code) == (Unauthorised, ErrorCode.QUOTA_SPENT)


def test_an_advertisement_for_a_bigger_plan_is_still_throttling() -> None:
    body = openai_error("Rate limit reached. Upgrade at https://x/settings/billing")
    assert type(classify(429, body)) is Throttled


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (openai_error("Too many concurrent requests"), {}),
        (openai_error("too many parallel requests"), {}),
        (
            openai_error("slow down"),
            {
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-remaining-tokens": "10",
            },
        ),
    ],
)
def test_a_refusal_for_concurrency_is_told_apart(
    body: object, headers: dict[str, str]
) -> None:
    error = classify(429, body, **headers)
    assert error.code is ErrorCode.TOO_MANY_CONCURRENT


def test_a_large_call_refused_with_tokens_left_is_a_matter_of_tokens() -> None:
    error = classify(
        429,
        openai_error("Rate limit reached on tokens per min (TPM)", "tokens"),
        x_ratelimit_remaining_requests="5",
        x_ratelimit_remaining_tokens="10",
        x_ratelimit_reset_tokens="3s",
    )
    assert (error.code, error.dimension) == (ErrorCode.RATE_LIMITED, "tokens")
    assert error.retry_after_s == 3.0


def test_the_exhausted_header_names_the_dimension_and_the_wait() -> None:
    error = classify(
        429,
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="20s",
        x_ratelimit_remaining_tokens="10",
        x_ratelimit_reset_tokens="1s",
    )
    assert (error.dimension, error.retry_after_s) == ("calls", 20.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "later"}, None),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "7", "x-ratelimit-reset-requests": "60s"}, 7.0),
        ({}, None),
    ],
)
def test_the_wait_follows_the_precedence_of_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert classify(503, **headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("word", "found"), [("true", True), ("False", False), ("?", None)]
)
def test_the_providers_own_word_on_retrying_is_kept(
    word: str, found: bool | None
) -> None:
    assert classify(500, x_should_retry=word).should_retry is found


def test_a_conflict_is_tried_again_only_if_the_provider_says_so() -> None:
    assert classify(409).should_retry is False
    assert classify(409, x_should_retry="true").should_retry is True


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the reason", "type": "t", "code": None}},
        {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "the reason"},
        },
        {"error": "the reason"},
        {"message": "the reason", "object": "error", "code": 400},
        {"detail": "the reason"},
        {"detail": [{"loc": ["body"], "msg": "the reason", "type": "missing"}]},
        {"errors": [{"message": "the reason"}]},
        {"title": "the reason", "status": 400},
        [{"error": {"message": "the reason", "status": "INVALID_ARGUMENT"}}],
        b"<html><style>p{}</style><p>the\n reason</p></html>",
        b"the reason",
    ],
)
def test_the_providers_message_is_found_in_every_shape(body: object) -> None:
    assert classify(400, body).message == "HTTP 400: the reason"


def test_a_long_message_is_cut_and_the_body_kept_whole() -> None:
    raw = json.dumps(openai_error("x" * 5000)).encode()
    error = classify(500, raw)
    assert len(error.message) < 600
    assert error.body == raw


def test_a_redirect_is_an_error_that_names_only_the_host() -> None:
    error = classify(302, location="https://user:pw@other.example/in?token=1")
    assert type(error) is BadReply
    assert "other.example" in error.message
    assert "pw" not in error.message
    assert "token" not in error.message


def test_the_providers_id_of_the_call_is_kept() -> None:
    assert classify(500, request_id="req_9").request_id == "req_9"


@given(
    st.integers(300, 599),
    st.binary(max_size=300),
    st.sampled_from(["openai", "anthropic", "azure", "http"]),
)
def test_no_body_breaks_the_classification(
    status: int, body: bytes, dialect: str
) -> None:
    error = classify(status, body, dialect)
    assert error.status == status
