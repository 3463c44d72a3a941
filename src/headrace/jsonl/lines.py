"""One line of a batch file as a request, fast.

Nearly all lines look alike, so they are decoded by one typed decoder that skips over
the body without taking it apart. Whatever that way does not take goes the careful way.
"""

from __future__ import annotations

import msgspec

from headrace.jsonl.badline import BadLine, Refusal
from headrace.jsonl.careful import (
    MAX_CUSTOM_ID_CHARS,
    MAX_DEPTH,
    LineRules,
    custom_id_of,
    fields_of,
    read_carefully,
    with_model,
)
from headrace.jsonl.reading import Oversized
from headrace.wire import HttpRequest, check_path

_OPEN_BRACE = ord("{")
_NEVER_DEEP_BYTES = 2 * MAX_DEPTH
_PUNCTUATION = len('{"custom_id": "", "method": "", "url": "", "body": }')
"""What stands around the values, if no field stands twice (that adds more)."""


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = ""


_decode = msgspec.json.Decoder(_Line).decode


class LineParser:
    """Reads the lines of one file.

    Args:
        file: its name, for messages.
        rules: what a line may say.
        max_line_bytes: for the message about lines that were too long to keep.
    """

    def __init__(self, file: str, rules: LineRules, max_line_bytes: int) -> None:
        self._file = file
        self._rules = rules
        self._max_line_bytes = max_line_bytes
        self._model = rules.model
        self._is_llm = rules.dialect == "llm"
        self._good_path = ""

    def parse(
        self, line: bytes | Oversized, number: int
    ) -> tuple[str, HttpRequest] | BadLine | None:
        """Return custom_id and request, what is wrong, or None for a blank line.

        Never raises, whatever the bytes.
        """
        if isinstance(line, Oversized):
            given = f"a line of {line.size:,} bytes"
            allowed = f"at most {self._max_line_bytes:,} (--max-line-bytes)"
            return BadLine(self._file, number, "", given, allowed)
        try:
            found = _decode(line)
        except (ValueError, RecursionError):
            return self._careful(line, number)
        custom_id, url, body = found.custom_id, found.url, bytes(found.body)
        around = len(line) - len(body) - len(custom_id) - len(url) - len("POST")
        if (
            self._is_llm
            and found.method == "POST"
            and body[0] == _OPEN_BRACE
            and 0 < len(custom_id) <= MAX_CUSTOM_ID_CHARS
            and "\0" not in custom_id
            and (url == self._good_path or self._is_good(url))
            and body.find(b'"stream"') < 0
            and (len(body) <= _NEVER_DEEP_BYTES or not _may_be_deep(body))
            and (around <= _PUNCTUATION or around <= _PUNCTUATION + _extra(custom_id))
            and (line.isascii() or _is_utf8(line))
        ):
            if self._model:
                body = with_model(body, self._model)
            return custom_id, HttpRequest(url, body)
        return self._careful(line, number)

    def _is_good(self, path: str) -> bool:
        """Check a path, and remember it: the next line will have the same."""
        good = check_path(path) is None
        if good:
            self._good_path = path
        return good

    def _careful(
        self, line: bytes, number: int
    ) -> tuple[str, HttpRequest] | BadLine | None:
        if not line.strip():
            return None
        try:
            return read_carefully(line, number, self._rules)
        except Refusal as error:
            return BadLine(
                self._file,
                number,
                error.field,
                error.given,
                error.allowed,
                _name_of(line),
            )


def _extra(text: str) -> int:
    """Return how many bytes more than characters a text has."""
    return len(text.encode()) - len(text)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_be_deep(body: bytes) -> bool:
    """Say whether JSON could be nested too deep."""
    return body.count(b"[") + body.count(b"{") >= MAX_DEPTH


def _name_of(line: bytes) -> str | None:
    """Return the custom_id of a line that is wrong elsewhere, if it can be read."""
    try:
        return custom_id_of(fields_of(line))
    except Refusal:
        return None
