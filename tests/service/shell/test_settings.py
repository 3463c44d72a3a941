"""Settings of a service: flags, `HEADRACE_SERVE_…`, the table [serve]."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.config import ServeSettings, load_serving, load_settings
from headrace.errors import ConfigError

NOWHERE = Path("/nonexistent")


def load(flags=None, environ=None, folder=NOWHERE) -> ServeSettings:
    return load_serving(flags or {}, environ or {}, folder)


def with_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "headrace.toml").write_text(text)
    return tmp_path


def test_without_settings_the_defaults_hold() -> None:
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.max_queued == 1_000


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path) -> None:
    folder = with_file(tmp_path, "[serve]\nport = 1\nrpm = 1\ngrace = 1\n")
    environ = {"HEADRACE_SERVE_PORT": "2", "HEADRACE_SERVE_RPM": "2"}
    settings = load({"port": "3"}, environ, folder)
    assert (settings.port, settings.rpm, settings.grace) == (3, 2.0, 1.0)


def test_the_store_may_be_shared_with_runs(tmp_path) -> None:
    folder = with_file(tmp_path, "store = 'file.db'\n[serve]\n")
    assert load({}, {}, folder).store == "file.db"
    assert load({}, {"HEADRACE_STORE": "env.db"}, folder).store == "env.db"
    both = {"HEADRACE_STORE": "env.db", "HEADRACE_SERVE_STORE": "own.db"}
    assert load({}, both, folder).store == "own.db"


def test_a_run_and_a_service_do_not_mind_each_other(tmp_path) -> None:
    folder = with_file(tmp_path, "[run]\nrpm = 5\n[serve]\nport = 1\n")
    environ = {"HEADRACE_SERVE_PORT": "2", "HEADRACE_TPM": "7"}
    assert load_settings({}, environ, folder).tpm == 7.0
    assert load({}, environ, folder).rpm is None


def test_endpoints_of_their_own_take_the_limits_of_all(tmp_path) -> None:
    text = '[serve]\nrpm = 9\n[[serve.endpoint]]\nurl = "http://127.0.0.1:1"\n'
    (endpoint,) = load({}, {}, with_file(tmp_path, text)).endpoint
    assert endpoint.limits.calls_per_minute == 9.0


REFUSED = [
    ({"port": "65536"}, {}, "--port: given '65536', allowed 0"),
    ({"host": ""}, {}, "--host: given ''"),
    ({"dialect": "anthropic"}, {}, "allowed openai or azure"),
    ({"max_queued": "0"}, {}, "--max-queued: given '0', allowed a whole number"),
    ({}, {"HEADRACE_SERVE_PORTS": "1"}, "HEADRACE_SERVE_PORTS: unknown"),
    ({}, {"HEADRACE_PORT": "1"}, "HEADRACE_PORT: unknown"),
    ({"cache_ttl": "5"}, {}, "--cache-ttl: given without --cache"),
]


@pytest.mark.parametrize(("flags", "environ", "message"), REFUSED)
def test_a_wrong_setting_is_refused(flags, environ, message) -> None:
    with pytest.raises(ConfigError, match=message):
        load(flags, environ)


def test_an_unknown_key_of_the_table_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"\[serve\]: unknown key 'prt'"):
        load({}, {}, with_file(tmp_path, "[serve]\nprt = 1\n"))
