"""What headers say of a provider's limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from headrace.model import Quota
from headrace.providers.dialects.durations import number, reset_s, until_date
from headrace.providers.dialects.quotas import read_quotas

NOW = 1_795_312_800.0  # 2026-11-22T02:00:00Z


def read(**headers: str) -> dict[str, Quota]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {q.dimension: q for q in read_quotas(CIMultiDict(named), NOW)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("350ms", 0.35),
        ("1h2m3.5s", 3723.5),
        ("12", 12.0),
        ("12.5", 12.5),
        ("0", 0.0),
        ("2026-11-22T02:00:30Z", 30.0),
        ("2026-11-22T02:00:30+00:00", 30.0),
        ("2026-11-22T01:00:00Z", 0.0),
        ("1795312860", 60.0),
        ("1795312860000", 60.0),
        ("soon", None),
        ("", None),
        ("5 s", None),
        ("nan", None),
        ("-5", None),
    ],
)
def test_a_reset_is_read_in_every_spelling(text: str, seconds: float | None) -> None:
    found = reset_s(text, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    for found in (number(text), reset_s(text, NOW), until_date(text, NOW)):
        assert found is None or found >= 0


@given(st.dictionaries(st.sampled_from(["ratelimit", "ratelimit-policy"]), st.text()))
def test_no_structured_header_breaks_the_reading(headers: dict[str, str]) -> None:
    assert isinstance(read_quotas(headers, NOW), tuple)


def test_openai_says_calls_and_tokens() -> None:
    found = read(
        X_RateLimit_Limit_Requests="600",
        x_ratelimit_remaining_requests="599",
        x_ratelimit_reset_requests="100ms",
        x_ratelimit_limit_tokens="60000",
        x_ratelimit_remaining_tokens="59000",
        x_ratelimit_reset_tokens="1s",
    )
    assert found == {
        "calls": Quota("calls", 600, 599, 0.1),
        "tokens": Quota("tokens", 60_000, 59_000, 1.0),
    }


def test_azure_says_only_what_remains() -> None:
    found = read(x_ratelimit_remaining_requests="9", x_ratelimit_remaining_tokens="80")
    assert found["calls"] == Quota("calls", None, 9, None)


def test_anthropic_says_input_and_output_apart() -> None:
    found = read(
        anthropic_ratelimit_input_tokens_limit="40000",
        anthropic_ratelimit_input_tokens_remaining="39000",
        anthropic_ratelimit_input_tokens_reset="2026-11-22T02:00:07Z",
        anthropic_ratelimit_output_tokens_limit="8000",
    )
    assert found["input_tokens"] == Quota("input_tokens", 40_000, 39_000, 7.0)
    assert found["output_tokens"].limit == 8000


def test_the_structured_form_joins_state_and_policy() -> None:
    found = read(
        RateLimit='"a, b";r=5;t=30, "tokens";r=70',
        RateLimit_Policy='"a, b";q=10;w=60, "tokens";q=100;w=3600',
    )
    assert found["calls"] == Quota("calls", 10, 5, 30)
    assert found["tokens"] == Quota("tokens", 100, 70, None, 3600.0)


def test_the_former_structured_form_is_understood() -> None:
    found = read(RateLimit="limit=100, remaining=50, reset=30")
    assert found == {"calls": Quota("calls", None, 50, 30)}


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        (
            {
                "x-ratelimit-limit-requests-day": "14400",
                "x-ratelimit-remaining-requests-day": "14000",
                "x-ratelimit-reset-requests-day": "33011.38",
            },
            Quota("calls", 14_400, 14_000, 33_011.38, 86_400.0),
        ),
        (
            {
                "X-RateLimit-Limit-Second": "10",
                "X-RateLimit-Remaining-Second": "9",
            },
            Quota("calls", 10, 9, None, 1.0),
        ),
        (
            {
                "x-ratelimit-limit-req-minute": "60",
                "x-ratelimit-remaining-req-minute": "59",
            },
            Quota("calls", 60, 59, None, 60.0),
        ),
        (
            {
                "x-ratelimit-limit-tokens-hour": "600000",
                "x-ratelimit-reset-tokens-hour": "6m0s",
            },
            Quota("tokens", 600_000, None, 360.0, 3_600.0),
        ),
    ],
)
def test_a_period_in_the_name_is_understood(
    headers: dict[str, str], quota: Quota
) -> None:
    assert read_quotas(headers, NOW) == (quota,)


def test_limits_of_several_periods_are_told_apart() -> None:
    found = read_quotas(
        {
            "X-RateLimit-Limit-Minute": "20",
            "X-RateLimit-Limit-Day": "500",
            "X-RateLimit-Limit": "20",
        },
        NOW,
    )
    assert {(q.limit, q.window_s) for q in found} == {(20, 60.0), (500, 86_400.0)}


@pytest.mark.parametrize("prefix", ["RateLimit", "X-RateLimit"])
def test_three_headers_tell_what_remains_but_no_period(prefix: str) -> None:
    headers = {
        f"{prefix}-Limit": "5000",
        f"{prefix}-Remaining": "4",
        f"{prefix}-Reset": "1795312810",
    }
    assert read_quotas(headers, NOW) == (Quota("calls", None, 4, 10.0),)


def test_other_headers_say_nothing() -> None:
    assert read(content_type="application/json", x_request_id="r") == {}
