"""Logs as JSON lines, with the ids of what they speak of and without secrets.

Ids are passed by `extra`: `_log.warning("…", extra={"job": id, "item": seq})`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

import msgspec

IDS = ("request_id", "tenant", "job", "batch", "item", "attempt", "endpoint")
"""What a record may carry by `extra`, beside its message."""
MASK = "***"
_MIN_SECRET = 6
"""Shorter values are no secrets, but would make every text unreadable."""
_SHAPES = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(
        r"(?i)((?:authorization|api[-_]?key|x-api-key|password|secret|token)"
        r"[\"']?\s*[:=]\s*[\"']?)(?!bearer\b|basic\b)[^\s\"',;&]{6,}"
    ),
    re.compile(r"()\b(?:sk|hr|pk|gsk|xai)[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)"),
)
"""What looks like a secret: the first group stays."""
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Masking(logging.Filter):
    """Takes secrets out of each record: out of message, traceback and ids.

    Args:
        secrets: values that are never shown, whatever stands around them.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._known: tuple[str, ...] = ()
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Mask these from now on, beside the former ones."""
        long = {secret for secret in secrets if len(secret) >= _MIN_SECRET}
        known = sorted(long.union(self._known), key=len)
        self._known = tuple(reversed(known))  # the longest first: one may hold another

    def masked(self, text: str) -> str:
        """Return a text without what is a secret, or looks like one."""
        for secret in self._known:
            text = text.replace(secret, MASK)
        for shape in _SHAPES:
            text = shape.sub(rf"\g<1>{MASK}", text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask a record; all of them pass."""
        record.msg, record.args = self.masked(_message(record)), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self.masked(record.exc_text)
        if record.stack_info:
            record.stack_info = self.masked(record.stack_info)
        for name in IDS:
            value = record.__dict__.get(name)
            if isinstance(value, str):
                record.__dict__[name] = self.masked(value)
        return True


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object: time, level, logger, message, ids, error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line feed."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name in IDS:
            value = record.__dict__.get(name)
            if value is not None:
                line[name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["error"] = record.exc_text
        return _encode(line).decode()


class PlainLines(logging.Formatter):
    """Writes each record as text; what is no warning stands there as it is."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line, without its line feed."""
        if record.levelno < logging.WARNING:
            return record.message
        return super().formatMessage(record)


@contextmanager
def logging_to(stream: TextIO, masking: Masking, *, as_json: bool) -> Iterator[None]:
    """Write what Headrace logs to a stream while the block lasts.

    Args:
        stream: where to.
        masking: takes out what is never shown.
        as_json: one JSON object a line; else plain text.
    """
    handler = logging.StreamHandler(stream)
    handler.addFilter(masking)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    logger = logging.getLogger("headrace")
    before, level = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
        logger.setLevel(level)


def _message(record: logging.LogRecord) -> str:
    """Return a record's message; a wrong format must not lose it."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"
