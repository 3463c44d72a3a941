from __future__ import annotations

import io
import json
import logging

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.telemetry.logs import MASK, JsonLines, Masking, PlainLines, logging_to

PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)
SECRET = st.text(PRINTABLE, min_size=6, max_size=60).filter(
    lambda s: s not in MASK * 99
)
WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=60)


def line_of(record: logging.LogRecord, *secrets: str) -> str:
    Masking(secrets).filter(record)
    return JsonLines().format(record)


def record_of(message: str, *args: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("headrace.test")
    return logger.makeRecord(
        "headrace.test", logging.INFO, "f", 1, message, args, None, extra=extra
    )


@given(WORDS, SECRET, WORDS)
@example("", "sk-abcdef", "")
def test_a_known_secret_is_never_shown(before: str, secret: str, after: str) -> None:
    text = Masking([secret]).masked(f"{before}{secret}{after}")
    rest = text.replace(MASK, "\n")
    assert secret not in rest


@given(st.text("abcdefghijkLMNOP0123456789_-", min_size=16, max_size=60))
def test_what_looks_like_a_key_is_never_shown(key: str) -> None:
    for text in (
        f"Authorization: Bearer {key}",
        f'{{"api_key": "{key}"}}',
        f"got sk-{key} of hr_{key}",
        f"postgresql://user:{key}@host/db",
    ):
        assert key not in Masking().masked(text)


def test_secrets_are_masked_in_arguments_ids_and_tracebacks() -> None:
    record = record_of("key %s", "topsecret-1", job="job_topsecret-1")
    try:
        raise ValueError("topsecret-1 is wrong")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = line_of(record, "topsecret-1")
    assert "topsecret" not in line
    assert "ValueError" in json.loads(line)["error"]


def test_ids_stand_in_fields_of_their_own() -> None:
    told = json.loads(line_of(record_of("failed", job="job_a", item=7, attempt=2)))
    assert (told["job"], told["item"], told["attempt"]) == ("job_a", 7, 2)
    assert told["message"] == "failed"


def test_a_wrong_format_loses_no_message() -> None:
    assert "5" in json.loads(line_of(record_of("%d %d", 5)))["message"]


def test_what_headrace_logs_comes_as_one_object_a_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, Masking(["topsecret-1"]), as_json=True):
        logging.getLogger("headrace.engine").warning("a\nb %s", "topsecret-1")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == f"a\nb {MASK}"


def test_people_read_what_is_no_warning_as_it_is() -> None:
    told = record_of("calls go to %s", "here")
    assert PlainLines().format(told) == "calls go to here"
    told.levelno, told.levelname = logging.WARNING, "WARNING"
    assert PlainLines().format(told) == "WARNING headrace.test: calls go to here"
