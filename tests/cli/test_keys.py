"""Keys come from the environment or a file, and are demanded where calls leave here."""

import pytest

from headrace.cli.keys import find_key, is_loopback
from headrace.config import RunSettings
from headrace.errors import ConfigError

FAR = RunSettings(base_url=("https://api.example.com/v1",))
HERE = RunSettings(base_url=("http://127.0.0.1:8000", "http://localhost:1"))


def test_the_named_variable_wins():
    settings = RunSettings(base_url=FAR.base_url, api_key_env="MINE")
    environ = {"MINE": "a", "HEADRACE_API_KEY": "b", "OPENAI_API_KEY": "c"}
    assert find_key(settings, environ) == "a"


def test_without_one_named_ours_comes_before_that_of_openai():
    assert find_key(FAR, {"HEADRACE_API_KEY": "b", "OPENAI_API_KEY": "c"}) == "b"
    assert find_key(FAR, {"OPENAI_API_KEY": "c"}) == "c"


def test_a_key_file_is_read(tmp_path):
    path = tmp_path / "key"
    path.write_text("sesame\n")
    settings = RunSettings(base_url=FAR.base_url, api_key_file=str(path))
    assert find_key(settings, {}) == "sesame"


@pytest.mark.parametrize(
    ("environ", "message"),
    [({}, "MINE is not set"), ({"MINE": " "}, "MINE is empty")],
)
def test_a_named_variable_must_hold_a_key(environ, message):
    settings = RunSettings(base_url=HERE.base_url, api_key_env="MINE")
    with pytest.raises(ConfigError, match=message):
        find_key(settings, environ)


def test_this_machine_may_be_called_without_a_key():
    assert find_key(HERE, {}) is None


def test_another_machine_may_not():
    with pytest.raises(ConfigError, match=r"no key for https://api\.example"):
        find_key(FAR, {})


@pytest.mark.parametrize("dialect", ["http", "anthropic"])
def test_nobody_else_is_shown_the_key_meant_for_openai(dialect):
    settings = RunSettings(base_url=HERE.base_url, dialect=dialect)
    assert find_key(settings, {"OPENAI_API_KEY": "c"}) is None


def test_a_key_that_could_break_a_header_is_refused_unseen():
    with pytest.raises(ConfigError) as refused:
        find_key(FAR, {"HEADRACE_API_KEY": "sesame\r\nX: y"})
    assert "sesame" not in str(refused.value)


def test_a_missing_key_file_is_refused():
    settings = RunSettings(base_url=FAR.base_url, api_key_file="/nonexistent")
    with pytest.raises(ConfigError, match="key file /nonexistent: cannot be read"):
        find_key(settings, {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8", True),
        ("http://localhost", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(url, expected):
    assert is_loopback(url) is expected
