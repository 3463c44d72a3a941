"""Every way a line may be right or wrong, and what is said of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.jsonl.badline import BadLine
from headrace.jsonl.careful import LineRules
from headrace.jsonl.lines import LineParser
from headrace.jsonl.reading import Oversized
from headrace.wire import HttpRequest, decode_request, encode_request

GOOD = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "m", "messages": []},
}
HTTP = LineRules(dialect="http")


def parse(
    line: bytes | str | dict[str, object], rules: LineRules | None = None
) -> tuple[str, HttpRequest] | BadLine | None:
    if isinstance(line, dict):
        line = json.dumps(line)
    raw = line.encode() if isinstance(line, str) else line
    return LineParser("IN.jsonl", rules or LineRules(), 1000).parse(raw, 17)


def good(
    line: bytes | str | dict[str, object], rules: LineRules | None = None
) -> tuple[str, HttpRequest]:
    found = parse(line, rules)
    assert isinstance(found, tuple), found
    return found


def bad(
    line: bytes | str | dict[str, object], rules: LineRules | None = None
) -> BadLine:
    found = parse(line, rules)
    assert isinstance(found, BadLine), found
    return found


def with_body(body: bytes) -> bytes:
    return b'{"custom_id":"a","method":"POST","url":"/v1/x","body":%b}' % body


def test_a_line_becomes_a_request_with_its_body_as_it_was_written() -> None:
    body = b'{"model":"m",  "n":1.50, "t":"\\u00e9\xc3\xa9"}'
    assert good(with_body(body)) == ("a", HttpRequest("/v1/x", body))


@pytest.mark.parametrize("tail", ["\r", "  ", "\t\r"])
def test_white_space_at_the_end_is_fine(tail: str) -> None:
    assert good(json.dumps(GOOD) + tail)[0] == "a"


@pytest.mark.parametrize("blank", [b"", b"\r", b"  \t"])
def test_a_blank_line_is_nothing(blank: bytes) -> None:
    assert parse(blank) is None


@pytest.mark.parametrize("style", [(",", ":"), (", ", ": "), (" ,\t", " : ")])
def test_it_does_not_matter_how_json_is_spaced(style: tuple[str, str]) -> None:
    assert good(json.dumps(GOOD, separators=style))[1].path == GOOD["url"]


def test_fields_may_stand_in_any_order() -> None:
    assert good(json.dumps(dict(reversed(GOOD.items()))))[0] == "a"


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_name_may_be_of_any_letters(ascii_only: bool) -> None:
    line = json.dumps({**GOOD, "custom_id": "Mühlbach 水"}, ensure_ascii=ascii_only)
    assert good(line)[0] == "Mühlbach 水"


def test_a_missing_method_is_post() -> None:
    line = {key: value for key, value in GOOD.items() if key != "method"}
    assert good(line)[1].method == "POST"


BAD_LINES = [
    (b"nonsense", "", "no JSON: invalid character (byte 4)", "a JSON object"),
    (b'{"custom_id":"a"', "", "JSON that ends too early", "a JSON object"),
    (with_body(b'{"t":NaN}'), "", "NaN at byte 59", "has no such number"),
    (with_body(b'{"t":-Infinity}'), "", "-Infinity at byte 59", "has no such number"),
    (with_body(b'{"t":01}'), "", "invalid number", "a JSON object"),
    (with_body(b'{"t":"\xff"}'), "", "byte 0xff at position 60", "UTF-8"),
    (with_body(b'{"t":"\xed\xa0\x80"}'), "", "byte 0xed", "UTF-8"),
    (with_body(b'{"t":"\\ud800"}'), "", "half a surrogate pair", "whole Unicode"),
    (with_body(b'{"t":"\\udc00 and more"}'), "", "half a surrogate", "whole Unicode"),
    (with_body(b"[" * 600 + b"]" * 600), "", "nested too deep", "512 levels"),
    (with_body(b'{"t":' + b"[" * 5000 + b"]" * 5000 + b"}"), "", "too deep", "512"),
    (b"[1]", "", "JSON of type array", "an object"),
    (b"null", "", "JSON of type null", "an object"),
    (with_body(b"{} ") + b" {}", "", "trailing characters", "a JSON object"),
    (with_body(b"[]"), "body", "a list", "an object"),
    (with_body(b'"x"'), "body", "a string", "an object"),
    (with_body(b"null"), "body", "null", "an object"),
    (with_body(b"17"), "body", '"17"', "an object"),
    (with_body(b'{"stream": true}'), "body.stream", "true", "false"),
    ({**GOOD, "custom_id": 7}, "custom_id", '"7"', "a string"),
    ({**GOOD, "custom_id": None}, "custom_id", "null", "a string"),
    ({**GOOD, "custom_id": ""}, "custom_id", "an empty string", "a name"),
    ({**GOOD, "custom_id": "x" * 513}, "custom_id", "(513 ch", "at most 512 char"),
    ({**GOOD, "custom_id": "a\0b"}, "custom_id", '"a\\x00b"', "without NUL"),
    ({**GOOD, "method": "GET"}, "method", '"GET"', '"POST"'),
    ({**GOOD, "method": "post"}, "method", '"post"', '"POST"'),
    ({**GOOD, "url": "http://a/v1"}, "url", '"http://a/v1"', "a path such as"),
    ({**GOOD, "url": "//a/v1"}, "url", '"//a/v1"', "without // and .."),
    ({**GOOD, "url": "/v1/../x"}, "url", '"/v1/../x"', "without // and .."),
    ({**GOOD, "url": "/v1\r\nX: y"}, "url", '"/v1\\r\\nX: y"', "a path such as"),
    ({**GOOD, "url": "/v1?x=1"}, "url", '"/v1?x=1"', "a path such as"),
    ({**GOOD, "url": "/v1/%2e"}, "url", '"/v1/%2e"', "a path such as"),
    ({**GOOD, "url": "/v1/é"}, "url", '"/v1/\\xe9"', "a path such as"),
    ({**GOOD, "url": "v1"}, "url", '"v1"', "a path such as"),
    ({**GOOD, "url": "/" + "a" * 8192}, "url", "(8,193 characters)", "at most 8192"),
    ({**GOOD, "url": 1}, "url", '"1"', "a string"),
    ({**GOOD, "priority": 1}, '"priority"', "an unknown field", "body, custom_id"),
    ({**GOOD, "headers": {}}, '"headers"', "an unknown field", "body, custom_id"),
    (
        b'{"url":"/a","custom_id":"a","method":"POST","url":"/b","body":{}}',
        '"url"',
        "it twice",
        "each field once",
    ),
    ({"prompt": "p", "messages": []}, "prompt", "a prompt and messages", "one"),
    ({"prompt": "p"}, "model", "nothing", "--model"),
    ({"prompt": ["p"], "model": "m"}, "prompt", "a list", "a string"),
    ({"messages": "p", "model": "m"}, "messages", "a string", "a list of"),
    ({"prompt": "p", "model": "m", "stream": True}, "body.stream", "true", "false"),
]


@pytest.mark.parametrize(("line", "field", "given_", "allowed"), BAD_LINES)
def test_a_bad_line_is_named_by_field_given_and_allowed(
    line: bytes | dict[str, object], field: str, given_: str, allowed: str
) -> None:
    found = bad(line)
    assert (found.file, found.line, found.field) == ("IN.jsonl", 17, field)
    assert given_ in found.given
    assert allowed in found.allowed


@pytest.mark.parametrize("field", ["custom_id", "url", "body"])
def test_a_missing_field_is_named(field: str) -> None:
    found = bad({key: value for key, value in GOOD.items() if key != field})
    assert (found.field, found.given) == (field, "nothing")


def test_a_bad_line_reads_as_one_line() -> None:
    assert str(bad({**GOOD, "url": "http://a\n/v1"})) == (
        'IN.jsonl:17: url: given "http://a\\n/v1", allowed a path such as '
        "/v1/chat/completions of A-Z a-z 0-9 . _ ~ / -"
    )


def test_a_bad_line_keeps_the_name_that_it_bears() -> None:
    assert bad({**GOOD, "url": "x"}).custom_id == "a"
    assert bad(b"nonsense").custom_id is None


def test_a_line_too_long_to_keep_is_told_by_its_length() -> None:
    found = LineParser("IN.jsonl", LineRules(), 1000).parse(Oversized(1234567), 3)
    assert str(found) == (
        "IN.jsonl:3: given a line of 1,234,567 bytes, "
        "allowed at most 1,000 (--max-line-bytes)"
    )


def test_five_hundred_levels_of_brackets_are_fine() -> None:
    body = b'{"t":' + b"[" * 500 + b"]" * 500 + b"}"
    assert decode_request(encode_request(good(with_body(body))[1])).body == body


def test_many_flat_brackets_are_not_deep() -> None:
    body = b'{"t":[' + b",".join([b"[]"] * 5000) + b"]}"
    assert good(with_body(body))[1].body == body


def test_a_default_model_fills_only_what_names_none() -> None:
    rules = LineRules(model="big")
    assert good(with_body(b'{"n":1}'), rules)[1].body == b'{"model":"big","n":1}'
    assert good(with_body(b"{ }"), rules)[1].body == b'{"model":"big" }'
    assert good(with_body(b'{"model":"m"}'), rules)[1].body == b'{"model":"m"}'


def test_a_plain_prompt_becomes_a_chat_call() -> None:
    custom_id, request = good(
        '{"prompt": "Say \\u00e9", "temperature": 0.50}', LineRules(model="m")
    )
    assert custom_id == "line-17"
    assert request.path == "/v1/chat/completions"
    assert request.body == (
        b'{"model":"m","temperature":0.50,'
        b'"messages":[{"role":"user","content":"Say \\u00e9"}]}'
    )


def test_plain_messages_may_bear_a_name_and_a_model() -> None:
    line = {"custom_id": "b", "messages": [{"role": "user"}], "model": "m"}
    custom_id, request = good(line, LineRules(model="other"))
    assert custom_id == "b"
    assert json.loads(request.body or b"") == {
        "messages": [{"role": "user"}],
        "model": "m",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_the_http_dialect_takes_any_method_a_query_headers_and_no_body(
    method: str,
) -> None:
    line = {
        "custom_id": "a",
        "method": method,
        "url": "/days?from=2000-01-01&x=%20",
        "headers": {"Accept": "text/csv"},
    }
    assert good(line, HTTP) == (
        "a",
        HttpRequest(
            "/days?from=2000-01-01&x=%20", None, method, (("Accept", "text/csv"),)
        ),
    )


@pytest.mark.parametrize("body", [b"[1, 2]", b'"x"', b"1.50", b"false", b"{}"])
def test_the_http_dialect_takes_any_json_body(body: bytes) -> None:
    assert good(with_body(body), HTTP)[1].body == body


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "TRACE"}, "method"),
        ({"method": "GET\r\n"}, "method"),
        ({"url": "http://elsewhere/"}, "url"),
        ({"url": "/a?b#c"}, "url"),
        ({"url": "/a?b c"}, "url"),
        ({"headers": {"Authorization": "Bearer x"}}, "headers"),
        ({"headers": {"x-api-key": "x"}}, "headers"),
        ({"headers": {"Host": "elsewhere"}}, "headers"),
        ({"headers": {"a": "b\r\nc: d"}}, "headers"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": 1}}, "headers"),
        ({"headers": [["a", "b"]]}, "headers"),
    ],
)
def test_the_http_dialect_keeps_calls_on_their_host_and_keys_out(
    change: dict[str, object], field: str
) -> None:
    assert bad({**GOOD, **change}, HTTP).field == field


def test_the_http_dialect_wants_the_method_said() -> None:
    line = {key: value for key, value in GOOD.items() if key != "method"}
    assert bad(line, HTTP).field == "method"


texts = st.text('aé水😀/.?"\\\n\r\0', max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
almost_lines = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": json_values | st.just("a"),
        "method": json_values | st.just("POST"),
        "url": json_values | st.just("/v1/x"),
        "body": json_values,
        "headers": json_values,
        "prompt": json_values,
        "messages": json_values,
        "model": json_values,
    },
)
any_rules = st.builds(
    LineRules,
    dialect=st.sampled_from(["llm", "http"]),
    model=st.sampled_from(["", "m"]),
)


def is_right(found: tuple[str, HttpRequest] | BadLine | None) -> bool:
    match found:
        case None | BadLine():
            return "\n" not in str(found)
        case custom_id, request:
            stored = encode_request(request)
            assert decode_request(stored) == request
            json.loads(request.body or b"null")
            return 0 < len(custom_id) <= 512


@given(st.binary(max_size=60), any_rules)
@example(b'{"\\ud800":1}', LineRules())
@example(b'{"custom_id":"a","url":"/x","body":{"a":"\xff"}}', LineRules())
def test_any_bytes_are_a_line_or_a_bad_line(line: bytes, rules: LineRules) -> None:
    assert is_right(parse(line, rules))


@pytest.mark.slow
@given(almost_lines, any_rules, st.booleans())
def test_almost_any_object_is_a_line_or_a_bad_line(
    line: dict[str, object], rules: LineRules, ascii_only: bool
) -> None:
    assert is_right(parse(json.dumps(line, ensure_ascii=ascii_only), rules))


@given(st.data())
def test_one_damaged_byte_never_breaks_the_parser(data: st.DataObject) -> None:
    line = bytearray(json.dumps(GOOD).encode())
    line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    assert is_right(parse(bytes(line)))
