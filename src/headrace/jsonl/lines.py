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
        return self._fast(line) or self._careful(line, number)

    def _fast(self, line: bytes) -> tuple[str, HttpRequest] | None:
        try:
            found = _decode(line)
        except (ValueError, RecursionError):
            return None
        body = bytes(found.body)
        if not (
            self._is_llm
            and body[0] == _OPEN_BRACE
            and found.method == "POST"
            and self._is_good(found, len(line) - len(body))
            and b'"stream"' not in body
            and (line.isascii() or _is_utf8(line))
            and not _may_be_deep(body)
        ):
            return None
        if self._rules.model:
            body = with_model(body, self._rules.model)
        return found.custom_id, HttpRequest(found.url, body)

    def _is_good(self, found: _Line, around_bytes: int) -> bool:
        custom_id, url = found.custom_id, found.url
        if url != self._good_path:
            if check_path(url) is not None:
                return False
            self._good_path = url
        name_bytes = len(custom_id if custom_id.isascii() else custom_id.encode())
        return (
            0 < len(custom_id) <= MAX_CUSTOM_ID_CHARS
            and "\0" not in custom_id
            and around_bytes - name_bytes - len(url) - len("POST") <= _PUNCTUATION
        )

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


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_be_deep(body: bytes) -> bool:
    """Say whether JSON could be nested too deep; cheap for what is short."""
    if len(body) <= 2 * MAX_DEPTH:
        return False
    return body.count(b"[") + body.count(b"{") >= MAX_DEPTH


def _name_of(line: bytes) -> str | None:
    """Return the custom_id of a line that is wrong elsewhere, if it can be read."""
    try:
        return custom_id_of(fields_of(line))
    except Refusal:
        return None
