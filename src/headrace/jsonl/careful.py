"""The slow way to read one line: accepts all that is right, and names what is wrong.

Lines that the fast way of `lines.py` does not take come here, so this is where the
format is defined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from headrace.jsonl.badline import Refusal, shown
from headrace.wire import HTTP_METHODS, HttpRequest, check_headers, check_path

MAX_CUSTOM_ID_CHARS = 512
MAX_DEPTH = 512  # decoders recurse, and may do so deep inside other calls

Fields = Mapping[str, msgspec.Raw]

_as_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_text = msgspec.json.Decoder(str).decode
_as_headers = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")
_NO_NUMBER = re.compile(rb"-?(?:NaN|nan|Infinity|inf)")
_LONE_HALF = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])"
)
_BYTE = re.compile(r"\(byte (\d+)\)")


class LineRules(msgspec.Struct, frozen=True):
    """What a line may say.

    Args:
        dialect: `llm` takes only POST with an object as body; `http` takes any method,
            a query, headers and any JSON or none.
        model: fills in for lines that name none; empty = they must.
        plain_path: where plain `prompt` and `messages` lines go; empty = nowhere, they
            are refused.
        method_required: must each line name its method?
    """

    dialect: Literal["llm", "http"] = "llm"
    model: str = ""
    plain_path: str = "/v1/chat/completions"
    method_required: bool = False


def read_carefully(
    line: bytes, number: int, rules: LineRules
) -> tuple[str, HttpRequest]:
    """Return the custom_id and the request of a line.

    Raises:
        Refusal: why it cannot be taken.
    """
    fields = fields_of(line)
    _refuse_repeated(line, fields)
    plain = rules.plain_path and ("prompt" in fields or "messages" in fields)
    if plain and rules.dialect == "llm" and not fields.keys() & {"url", "body"}:
        return _plain(fields, number, rules)
    known = {"custom_id", "method", "url", "body"}
    if rules.dialect == "http":
        known.add("headers")
    for name in fields:
        if name not in known:
            raise Refusal(shown(name), "an unknown field", ", ".join(sorted(known)))
    custom_id = custom_id_of(fields)
    if rules.dialect == "http":
        return custom_id, _http(fields)
    return custom_id, _llm(fields, rules)


def fields_of(line: bytes) -> dict[str, msgspec.Raw]:
    """Return the fields of the object that a line is, or refuse it."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        given = f"byte 0x{line[error.start]:02x} at position {error.start}"
        raise Refusal("", given, "UTF-8") from None
    if _depth(line) > MAX_DEPTH:
        raise Refusal("", "JSON nested too deep", f"{MAX_DEPTH} levels")
    try:
        return _as_fields(line)
    except msgspec.ValidationError as error:
        given = str(error).rpartition("got ")[2].strip("`")
        raise Refusal("", f"JSON of type {given}", "an object") from None
    except msgspec.DecodeError as error:
        raise _malformed(line, str(error)) from None


def custom_id_of(fields: Fields) -> str:
    """Return the line's custom_id, or refuse it."""
    custom_id = _text(fields, "custom_id")
    if not custom_id:
        raise Refusal("custom_id", "an empty string", "a name for the answer")
    if len(custom_id) > MAX_CUSTOM_ID_CHARS:
        allowed = f"at most {MAX_CUSTOM_ID_CHARS} characters"
        raise Refusal("custom_id", shown(custom_id), allowed)
    if "\0" in custom_id:
        raise Refusal("custom_id", shown(custom_id), "text without NUL")
    return custom_id


def with_model(body: bytes, model: str) -> bytes:
    """Return `body` with that model, if it names none itself."""
    if not model or "model" in _as_fields(body):
        return body
    comma = b"" if body[1:-1].strip() == b"" else b","
    return b'{"model":%b%b%b' % (_encode(model), comma, body[1:])


def refuse_stream(body: bytes) -> None:
    """Refuse a body that asks for a stream, which no line of a file could hold."""
    if b'"stream"' in body and bytes(_as_fields(body).get("stream", b"")) == b"true":
        raise Refusal("body.stream", "true", "false, or nothing")


def _llm(fields: Fields, rules: LineRules) -> HttpRequest:
    is_named = rules.method_required or "method" in fields
    method = _text(fields, "method") if is_named else "POST"
    if method != "POST":
        raise Refusal("method", shown(method), '"POST"')
    path = _path(fields, query_allowed=False)
    body = _required(fields, "body")
    if not body.startswith(b"{"):
        raise Refusal("body", _kind(body), "an object")
    refuse_stream(body)
    return HttpRequest(path, with_model(body, rules.model))


def _http(fields: Fields) -> HttpRequest:
    method = _text(fields, "method")
    if method not in HTTP_METHODS:
        raise Refusal("method", shown(method), ", ".join(HTTP_METHODS))
    path = _path(fields, query_allowed=True)
    body: bytes | None = bytes(fields.get("body", b"null"))
    return HttpRequest(
        path, None if body == b"null" else body, method, _headers(fields)
    )


def _plain(fields: Fields, number: int, rules: LineRules) -> tuple[str, HttpRequest]:
    if "prompt" in fields and "messages" in fields:
        raise Refusal("prompt", "a prompt and messages", "one of them")
    rest = {name: bytes(raw) for name, raw in fields.items() if name != "custom_id"}
    named = "custom_id" in fields
    custom_id = custom_id_of(fields) if named else f"line-{number}"
    if "prompt" in rest:
        prompt = rest.pop("prompt")
        if not prompt.startswith(b'"'):
            raise Refusal("prompt", _kind(prompt), "a string")
        rest["messages"] = b'[{"role":"user","content":%b}]' % prompt
    elif not rest["messages"].startswith(b"["):
        raise Refusal("messages", _kind(rest["messages"]), "a list of messages")
    if "model" not in rest and not rules.model:
        raise Refusal("model", "nothing", "a model, here or for all lines by --model")
    parts = (b"%b:%b" % (_encode(name), raw) for name, raw in rest.items())
    body = b"{%b}" % b",".join(parts)
    refuse_stream(body)
    return custom_id, HttpRequest(rules.plain_path, with_model(body, rules.model))


def _path(fields: Fields, *, query_allowed: bool) -> str:
    path = _text(fields, "url")
    if allowed := check_path(path, query_allowed=query_allowed):
        raise Refusal("url", shown(path), allowed)
    return path


def _headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    raw = bytes(fields.get("headers", b"null"))
    if raw == b"null":
        return ()
    try:
        headers = tuple(_as_headers(raw).items())
    except msgspec.ValidationError:
        raise Refusal("headers", _kind(raw), "an object of strings") from None
    if wrong := check_headers(headers):
        raise Refusal("headers", "a header that cannot be sent", f"others: {wrong}")
    return headers


def _required(fields: Fields, name: str) -> bytes:
    if name not in fields:
        raise Refusal(name, "nothing", "it is required")
    return bytes(fields[name])


def _text(fields: Fields, name: str) -> str:
    raw = _required(fields, name)
    if not raw.startswith(b'"'):
        raise Refusal(name, _kind(raw), "a string")
    return _as_text(raw)


def _kind(raw: bytes) -> str:
    words = {b'"': "a string", b"[": "a list", b"{": "an object", b"n": "null"}
    return words.get(raw[:1]) or shown(raw[:100].decode())


def _depth(line: bytes) -> int:
    """Return how deep JSON is nested, or less than the limit if it cannot be deep."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", line)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_repeated(line: bytes, fields: Fields) -> None:
    """Refuse a field that stands twice: readers differ in which one they take."""
    around = len(line.strip()) - sum(
        len(name.encode()) + 2 + len(bytes(raw)) for name, raw in fields.items()
    )
    if around in (2 * len(fields) + 1, 4 * len(fields)):
        return  # just the punctuation of the two usual ways to write JSON
    pairs = json.loads(line, object_pairs_hook=list, parse_int=len, parse_float=len)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Refusal(shown(name), "it twice", "each field once")
        seen.add(name)


def _malformed(line: bytes, reason: str) -> Refusal:
    found = _BYTE.search(reason)
    at = int(found[1]) if found else len(line)
    if word := _NO_NUMBER.match(line, max(0, at - 1)) or _NO_NUMBER.match(line, at):
        given = f"{word[0].decode()} at byte {word.start()}"
        return Refusal("", given, "JSON, which has no such number")
    if half := _LONE_HALF.search(line):
        given = f"half a surrogate pair near byte {half.start()}"
        return Refusal("", given, "whole Unicode characters")
    if not found:
        return Refusal("", "JSON that ends too early", "a JSON object")
    why = reason.removeprefix("JSON is malformed: ")
    return Refusal("", f"no JSON: {why}", "a JSON object")
