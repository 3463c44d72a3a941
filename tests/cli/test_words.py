"""Numbers and durations as people read them."""

import pytest

from headrace.cli import words
from headrace.cli.jobwork import age_s
from headrace.errors import ConfigError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.35, "350 ms"),
        (0.9996, "1.0 s"),
        (4.2, "4.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (187, "3:07"),
        (3_723, "1:02:03"),
    ],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.004, "0.4 %"), (0.25, "25 %"), (1, "100 %")],
)
def test_shares(share, text):
    assert words.percent(share) == text


def test_one_and_many():
    assert words.plural(1, "line") == "1 line"
    assert words.plural(2_000, "line") == "2,000 lines"


def test_a_store_is_shown_without_its_password():
    shown = words.address("postgresql://me:sesame@host/db")
    assert shown == "postgresql://me:…@host/db"
    assert words.address("headrace.db") == "headrace.db"


def test_text_of_others_cannot_draw_on_the_terminal():
    assert words.one_line("a\x1b[31mb\nc") == "a [31mb c"
    assert words.one_line("x" * 300, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("90s", 90)])
def test_ages(text, seconds):
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1.5h", ""])
def test_an_age_without_a_unit_is_refused(text):
    with pytest.raises(ConfigError, match="such as 30d"):
        age_s(text)
