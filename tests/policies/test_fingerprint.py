from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.policies.fingerprint import (
    VOLATILE,
    argument_key,
    function_scope,
    request_key,
    scope_of,
)
from headrace.wire import HttpRequest

SCOPE = scope_of("openai", ["http://a"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def key(body: Any, scope: bytes = SCOPE, tenant: str = "", **fields: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = HttpRequest("/chat/completions", data, **fields)
    return request_key(request, scope, tenant)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms())
def test_order_and_spelling_do_not_matter(body: dict[str, Any], random: Any) -> None:
    body.pop("stream", None)
    names = list(body)
    random.shuffle(names)
    other = {name: body[name] for name in names}
    plain = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    spaced = json.dumps(other, ensure_ascii=False, indent=2)
    try:
        one, two = plain.encode(), spaced.encode()
    except UnicodeEncodeError:
        return
    assert key(one) == key(two)


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.dictionaries(st.text(), JSON, max_size=4),
)
def test_other_bodies_have_other_keys(one: Any, two: Any) -> None:
    def seen(body: Any) -> Any:
        return json.dumps({k: v for k, v in body.items() if k not in VOLATILE})

    if json.loads(seen(one)) != json.loads(seen(two)):
        assert key(one) != key(two)


def test_who_asks_and_how_it_is_filed_does_not_matter() -> None:
    body = {"model": "m", "messages": []}
    filed = body | {"user": "u", "metadata": {"a": "b"}, "store": True, "stream": False}
    assert key(body) == key(filed)


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "t"},
        {"scope": scope_of("openai", ["http://b"])},
        {"scope": scope_of("azure", ["http://a"])},
        {"scope": scope_of("openai", ["http://a"], [("openai-organization", "o")])},
        {"method": "GET"},
        {"headers": (("anthropic-beta", "x"),)},
    ],
)
def test_who_answers_whom_and_how_matters(other: dict[str, Any]) -> None:
    assert key({"model": "m"}) != key({"model": "m"}, **other)


def test_the_order_of_a_pool_does_not_matter() -> None:
    one = scope_of("openai", ["http://a", "http://b"])
    assert one == scope_of("openai", ["http://b", "http://a", "http://a"])


def test_a_name_that_stands_twice_is_equal_to_the_same_bytes_only() -> None:
    twice = b'{"model":"m","n":1,"n":2}'
    assert key(twice) == key(twice)
    assert key(twice) != key(b'{"model":"m","n":2}')
    assert key(b'{"a":"\\u0022\\u0022","b":1,"b":2}') != key(b'{"a":"\\"\\"","b":2}')


def test_a_volatile_name_that_stands_twice_is_seen() -> None:
    assert key(b'{"user":"a","user":"b","n":1}') != key(b'{"n":1}')


@pytest.mark.parametrize(
    "body",
    [b'{"n":NaN}', b"no json", b"[1]", b'"\xff"', b"[" * 100_000, b'{"n":1e999}'],
)
def test_what_does_not_parse_is_keyed_by_its_bytes(body: bytes) -> None:
    assert key(body) == key(body)
    assert key(body) != key(body + b" ")


def test_whole_numbers_are_told_apart_however_long() -> None:
    assert key(b'{"seed":18446744073709551617}') != key(
        b'{"seed":18446744073709551616}'
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_calls_that_change_something_have_no_key(method: str) -> None:
    assert key({"a": 1}, method=method) is None


def test_streams_and_calls_that_refuse_have_no_key() -> None:
    assert key({"stream": True}) is None
    assert key({"a": 1}, cacheable=False) is None


def test_a_functions_argument_is_keyed_by_its_json() -> None:
    scope = function_scope("m:f")
    assert argument_key({"a": 1, "b": 2}, scope, "") == argument_key(
        {"b": 2, "a": 1}, scope, ""
    )
    assert argument_key(1, scope, "") != argument_key(True, scope, "")
    assert argument_key(None, scope, "") is not None
    assert argument_key(1, scope, "") != argument_key(1, function_scope("m:g"), "")


@pytest.mark.parametrize("argument", [(1,), {1: 2}, object(), float("nan"), [(1, 2)]])
def test_an_argument_that_json_cannot_hold_has_no_key(argument: Any) -> None:
    assert argument_key(argument, function_scope("m:f"), "") is None
