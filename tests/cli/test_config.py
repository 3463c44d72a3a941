"""Settings come from flags, environment and file, and are refused clearly."""

from decimal import Decimal
from pathlib import Path

import pytest

from headrace.config import load_settings, load_store
from headrace.errors import ConfigError, ErrorCode
from headrace.model import Priority
from headrace.terms import Fallback

NOWHERE = Path("/nonexistent")


def load(flags=None, environ=None, folder=NOWHERE):
    return load_settings(flags or {}, environ or {}, folder)


def with_file(tmp_path, text):
    (tmp_path / "headrace.toml").write_text(text)
    return tmp_path


def test_without_settings_the_defaults_hold():
    settings = load()
    assert (settings.in_flight, settings.max_in_flight) == ("auto", 512)
    assert (settings.patience, settings.max_attempts) == (900.0, 5)
    assert settings.store == "headrace.db"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path):
    folder = with_file(tmp_path, "[run]\nrpm = 1\ntpm = 1\ntimeout = 1\n")
    settings = load({"rpm": 3.0}, {"HEADRACE_RPM": "2", "HEADRACE_TPM": "2"}, folder)
    assert (settings.rpm, settings.tpm, settings.timeout) == (3.0, 2.0, 1.0)


def test_a_flag_that_is_not_given_changes_nothing():
    assert load({"rpm": None}, {"HEADRACE_RPM": "2"}).rpm == 2.0


def test_several_addresses_stand_in_one_variable():
    environ = {"HEADRACE_BASE_URL": "http://a/v1/, http://b"}
    assert load(None, environ).base_url == ("http://a/v1", "http://b")


def test_values_are_converted_to_their_types():
    settings = load(
        {"in_flight": "8", "priority": "urgent", "on_failure": "0.5"},
        {"HEADRACE_SKIP_BAD_LINES": "true"},
    )
    assert settings.in_flight == 8
    assert settings.priority is Priority.URGENT
    assert settings.on_failure.threshold == 0.5
    assert settings.skip_bad_lines


REFUSED = [
    ({"rpm": 0.0}, "--rpm: given '0.0', allowed calls per minute"),
    ({"rpm": float("nan")}, "--rpm: given 'nan'"),
    ({"tpm": -1.0}, "--tpm: given '-1.0'"),
    ({"in_flight": "0"}, "--in-flight: given '0', allowed a whole number from 1"),
    ({"in_flight": "many"}, "--in-flight: given 'many'"),
    ({"in_flight": "600"}, "--in-flight: given 600, allowed 1 to 512"),
    ({"in_flight": "auto+vegas"}, "or some of auto, aimd, cpu, throughput"),
    ({"in_flight": "cpu+cpu"}, "--in-flight: given 'cpu+cpu'"),
    ({"in_flight": "-4"}, "--in-flight: given '-4'"),
    ({"strategy": "best"}, "--strategy: given 'best', allowed headroom, least_"),
    ({"budget_usd": "1"}, "--budget-usd: given without --price, which it needs"),
    ({"budget_usd": "0", "price": "1/2"}, "--budget-usd: given '0', allowed US doll"),
    ({"budget_usd": "1e30", "price": "1/2"}, "--budget-usd: given '1e30', allowed US"),
    ({"price": ["1"]}, "--price: given '1': no / between two prices; allowed [MO"),
    ({"price": ["1/2", "3/4"]}, "--price: all models have several prices"),
    ({"price": ["m=1/2", "m=3/4"]}, "--price: model 'm' has several prices"),
    ({"price": ["1/2", "m=-1/2"]}, "--price: given 'm=-1/2': input_usd -1 is not betw"),
    ({"price": ["1/1e400"]}, "not between 0 and 1,000,000"),
    ({"price": ["1/x"]}, "--price: given '1/x': 'x' is no number"),
    ({"fallback": ["a"]}, "allowed MODEL=OTHER"),
    ({"fallback": ["a=a"]}, "--fallback: given 'a=a': "),
    ({"fallback": ["a=b:nonsense"]}, "'nonsense' is no error code, allowed rate_limi"),
    ({"fallback": ["a=b:8b"]}, "end with a colon: b:8b:"),
    ({"fallback": ["a=b", "a=c"]}, "'a' has two other models for rate_limited"),
    ({"cache_ttl": 5.0}, "--cache-ttl: given without --cache"),
    ({"cache": True, "cache_ttl": -1.0}, "--cache-ttl: given '-1.0'"),
    ({"cache": True, "cache_store": "disk"}, "allowed memory, or a redis:// address"),
    ({"cache": True, "cache_store": "redis://h:99999"}, "--cache-store: Port out of"),
    ({"cache": True, "cache_store": "redis://h/x"}, "--cache-store: given the databas"),
    ({"cache": True, "cache_store": "pg://u:secret@h"}, "given 'pg://h', allowed memo"),
    ({"timeout": 0.0}, "--timeout: given '0.0', allowed seconds above 0"),
    ({"timeout": float("inf")}, "--timeout: given 'inf'"),
    ({"max_attempts": 0}, "--max-attempts: given '0', allowed a whole number from 1"),
    ({"limit": 0}, "--limit: given '0'"),
    ({"on_failure": "2"}, "--on-failure: given '2', allowed keep, all, or a share"),
    ({"priority": "top"}, "--priority: given 'top', allowed low, normal, high, urgent"),
    ({"dialect": "soap"}, "--dialect: dialect 'soap' is none of openai"),
    ({"base_url": ["ftp://a"]}, "--base-url: base URL 'ftp://a' is not of the form"),
    ({"base_url": ["http://a", "http://a/"]}, "the same address stands twice"),
    ({"header": ["no colon"]}, "--header: given 'no colon', allowed 'Name: value'"),
    ({"header": ["Authorization: Bearer x"]}, "name it by --api-key-env"),
    ({"header": ["X-Api-Key: x"]}, "X-Api-Key is a credential"),
    ({"header": ["Cookie: x"]}, "Cookie is a credential"),
    ({"store": ""}, "--store: given ''"),
]


@pytest.mark.parametrize(("flags", "message"), REFUSED)
def test_a_flag_outside_its_range_is_refused(flags, message):
    with pytest.raises(ConfigError) as refused:
        load(flags)
    assert message in str(refused.value)


def test_a_refused_header_does_not_show_its_value():
    with pytest.raises(ConfigError) as refused:
        load({"header": ["Authorization: Bearer sesame"]})
    assert "sesame" not in str(refused.value)


def test_the_message_names_the_variable_that_was_wrong():
    with pytest.raises(ConfigError, match="HEADRACE_RPM: given 'fast', allowed calls"):
        load(None, {"HEADRACE_RPM": "fast"})


def test_an_unknown_variable_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match=r"HEADRACE_RMP: unknown.*HEADRACE_RPM"):
        load(None, {"HEADRACE_RMP": "5"})


def test_keys_and_tests_have_variables_of_their_own():
    environ = {"HEADRACE_API_KEY": "k", "HEADRACE_TEST_X": "1", "HEADRACE_MINE": "k"}
    assert load({"api_key_env": "HEADRACE_MINE"}, environ).rpm is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nrmp = 5\n", r"headrace.toml \[run\]: unknown key 'rmp'.*rpm"),
        (
            "stor = 'x'\n",
            "headrace.toml: unknown key 'stor', allowed run, serve, store",
        ),
        ("run = 5\n", "allowed a table"),
        ("run = [\n", "headrace.toml: cannot be read"),
        ("[run]\nrpm = 'x'\n", r"headrace.toml \[run\]: rpm: given 'x'"),
    ],
)
def test_a_wrong_settings_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(folder=with_file(tmp_path, text))


def test_by_default_the_number_in_flight_is_found():
    settings = load({"max_in_flight": 4})
    assert settings.limits.controllers == ("auto",)
    assert settings.limits.most_in_flight == 4


def test_names_of_models_may_hold_colons():
    settings = load({"fallback": ["llama:8b=qwen:7b:", "qwen:7b=phi:3b:overloaded"]})
    assert [(rule.model, rule.to) for rule in settings.fallback] == [
        ("llama:8b", "qwen:7b"),
        ("qwen:7b", "phi:3b"),
    ]
    assert settings.fallback[1].on == (ErrorCode.OVERLOADED,)


def test_prices_and_fallbacks_are_read():
    settings = load(
        {"price": ["0.5/1.5", "big=3/15"], "fallback": ["big=small:overloaded"]}
    )
    assert [(p.model, p.output_usd) for p in settings.price] == [
        ("", Decimal("1.5")),
        ("big", Decimal(15)),
    ]
    assert settings.fallback == (Fallback("big", "small", (ErrorCode.OVERLOADED,)),)


def test_the_store_is_found_by_flag_then_variable_then_file(tmp_path):
    folder = with_file(tmp_path, "store = 'c.db'\n")
    environ = {"HEADRACE_STORE": "b.db"}
    assert load_store("a.db", environ, folder)[0] == "a.db"
    assert load_store(None, environ, folder)[0] == "b.db"
    assert load_store(None, {}, folder)[0] == "c.db"
    assert load_store(None, {}, NOWHERE) == ("headrace.db", "")
