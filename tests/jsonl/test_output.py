"""One line for each way an item may end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from headrace.errors import ErrorCode
from headrace.jsonl.badline import BadLine
from headrace.jsonl.output import line_of, line_of_bad
from headrace.model import Failure, ItemState, Outcome, Trace

CHAT = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":'
    b'[{"index":0,"finish_reason":"stop","message":{"role":"assistant",'
    b'"content":"Yes","refusal":null},"logprobs":null}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


def succeeded(body: object, status: int | None = 200) -> Outcome:
    return Outcome("a", 3, ItemState.SUCCEEDED, body, status=status, request_id="req_1")


def failed(failure: Failure | None, state: ItemState = ItemState.FAILED) -> Outcome:
    return Outcome("a", 3, state, failure=failure)


def fields_of(outcome: Outcome) -> dict[str, Any]:
    line = line_of("job_1", outcome)
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    found = json.loads(line)
    assert list(found) == ["id", "custom_id", "response", "error"]
    return found


def body_of(body: object) -> object:
    return fields_of(succeeded(body))["response"]["body"]


def test_a_success_bears_the_body_byte_for_byte() -> None:
    line = line_of("job_1", succeeded(b'{"n": 1.50, "t":"\\u00e9"}'))
    response = (
        b'"response":{"status_code":200,"request_id":"req_1",'
        b'"body":{"n": 1.50, "t":"\\u00e9"}},"error":null}\n'
    )
    assert line.endswith(response)


def test_the_official_client_reads_the_body_of_a_success() -> None:
    found = fields_of(succeeded(CHAT))
    chat = ChatCompletion.model_validate(found["response"]["body"])
    assert chat.choices[0].message.content == "Yes"
    assert (found["custom_id"], found["error"]) == ("a", None)


def test_the_id_is_the_same_for_the_same_item_and_no_other() -> None:
    first = fields_of(succeeded(b"1"))["id"]
    other = Outcome("a", 4, ItemState.SUCCEEDED, b"1")
    assert first == fields_of(failed(None))["id"]
    assert first != fields_of(other)["id"]
    assert first.startswith("batch_req_")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{\n  "a": 1.5,\r\n  "b": [\n1\n]\n}\n', {"a": 1.5, "b": [1]}),
        (b'{"a":\n"\\ud800"}', {"a": "\ud800"}),
        (b"", None),
        (b"plain\ntext", "plain\ntext"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"\xff\x00", "data:application/octet-stream;base64,/wA="),
        (b'"\xff"', "data:application/octet-stream;base64,Iv8i"),
        ({"label": 1}, {"label": 1}),
        (None, None),
    ],
)
def test_any_answer_stands_on_one_line(body: object, value: object) -> None:
    assert body_of(body) == value


def test_respacing_keeps_numbers_as_they_are() -> None:
    assert b'{"n":1.50,"m":1e400}' in line_of(
        "job_1", succeeded(b'{"n":1.50,\n"m":1e400}')
    )


@given(st.binary(max_size=40))
def test_any_bytes_make_one_line(body: bytes) -> None:
    fields_of(succeeded(body))
    fields_of(failed(Failure(ErrorCode.BAD_CALL, "no", 400, body)))


def test_an_http_error_bears_the_providers_own_body() -> None:
    body = b'{"error":\n{"message":"no such model","code":"model_not_found"}}'
    found = fields_of(failed(Failure(ErrorCode.UNKNOWN_MODEL, "m", 404, body, "req_2")))
    assert found["response"] == {
        "status_code": 404,
        "request_id": "req_2",
        "body": {"error": {"message": "no such model", "code": "model_not_found"}},
    }
    assert found["error"] is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "rate_limit_error"), (502, "server_error")],
)
@pytest.mark.parametrize("body", [None, b"", b"<html>Bad Gateway</html>"])
def test_an_error_that_is_no_json_gets_openais_envelope(
    status: int, kind: str, body: bytes | None
) -> None:
    found = fields_of(failed(Failure(ErrorCode.SERVER_ERROR, "sorry", status, body)))
    assert found["response"]["body"] == {
        "error": {
            "message": "sorry",
            "type": kind,
            "param": None,
            "code": "server_error",
        }
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure(ErrorCode.TIMED_OUT, "no answer in 60 s"), "request_timeout"),
        (Failure(ErrorCode.BAD_REPLY, "no JSON", 200), "bad_reply"),
        (Failure(ErrorCode.CONNECT_FAILED, "refused"), "connect_failed"),
    ],
)
def test_what_is_no_http_error_has_no_response(failure: Failure, code: str) -> None:
    found = fields_of(failed(failure))
    assert found["response"] is None
    assert found["error"] == {"code": code, "message": failure.message}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (ItemState.CANCELLED, "batch_cancelled"),
        (ItemState.EXPIRED, "batch_expired"),
        (ItemState.SKIPPED, "skipped"),
    ],
)
def test_what_never_ran_says_so_in_openais_words(state: ItemState, code: str) -> None:
    found = fields_of(failed(None, state))
    assert found["response"] is None
    assert found["error"]["code"] == code
    assert found["error"]["message"]


@pytest.mark.parametrize("custom_id", ["b", None])
def test_a_line_left_out_is_told_with_its_number(custom_id: str | None) -> None:
    bad = BadLine("IN.jsonl", 17, "url", '"x"', "a path", custom_id)
    found = json.loads(line_of_bad("job_1", bad))
    assert found["custom_id"] == custom_id
    assert found["response"] is None
    assert found["error"] == {
        "code": "invalid_line",
        "message": 'line 17: url: given "x", allowed a path',
    }


def test_a_line_says_which_other_model_answered_and_nothing_if_none_did() -> None:
    own = Outcome("a", 3, ItemState.SUCCEEDED, b"{}")
    other = Outcome("a", 3, ItemState.SUCCEEDED, b"{}", trace=Trace(model="small"))
    fields = json.loads(line_of("j", other))
    assert fields.pop("model") == "small"
    assert fields == json.loads(line_of("j", own))
