"""The tables `[[run.endpoint]]` of headrace.toml."""

from pathlib import Path

import pytest

from headrace.cli.runplan import plan_run
from headrace.config import load_settings
from headrace.errors import ConfigError

TWO = """
[run]
rpm = 60

[[run.endpoint]]
name = "east"
url = "http://127.0.0.1:8000/"
api_key_env = "EAST"
weight = 2
rpm = 600
models = ["m"]

[[run.endpoint]]
url = "http://127.0.0.1:8001"
tier = 1
"""


def planned(folder: Path, text: str, **environ: str):
    (folder / "headrace.toml").write_text(text)
    settings = load_settings({}, environ, folder)
    return plan_run(
        "in.jsonl", None, "n", restart=False, settings=settings, environ=environ
    )


def refused(folder: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as error:
        planned(folder, text, **environ)
    return str(error.value)


def test_each_has_a_key_limits_and_models_of_its_own_or_those_of_the_run(tmp_path):
    plan = planned(tmp_path, TWO, EAST="sk-east", HEADRACE_API_KEY="sk-all")
    east, other = plan.route("r").endpoints
    assert (east.name, east.weight, east.models) == ("east", 2.0, ("m",))
    assert (east.base_url, east.limits.calls_per_minute) == (
        "http://127.0.0.1:8000",
        600,
    )
    assert (other.name, other.tier) == ("http://127.0.0.1:8001", 1)
    assert other.limits.calls_per_minute == 60
    assert (plan.key_of(east), plan.key_of(other)) == ("sk-east", "sk-all")


def test_a_key_that_is_not_set_is_named_with_its_endpoint(tmp_path):
    assert refused(tmp_path, TWO) == (
        "endpoint east: api_key_env: the environment variable EAST is not set or empty"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("weight = 0", "weight: given '0', allowed a number above 0"),
        ("rpm = -1", "rpm: given '-1', allowed calls per minute"),
        ("in_flight = -4", "in_flight: given '-4'"),
        ('colour = "red"', "unknown key 'colour', allowed api_key_env, "),
        ("tier = -1", "tier: given '-1', allowed a whole number from 0"),
        ("in_flight = 600", "in_flight: given 600, allowed 1 to 512"),
    ],
)
def test_a_bad_key_is_refused_with_what_is_allowed(tmp_path, line, told):
    text = f'[[run.endpoint]]\nurl = "http://127.0.0.1:1"\n{line}\n'
    assert told in refused(tmp_path, text)
    assert "headrace.toml [run]: endpoint 1" in refused(tmp_path, text)


def test_a_table_without_an_address_is_refused(tmp_path):
    assert "url: given nothing" in refused(tmp_path, "[[run.endpoint]]\nweight = 1\n")


def test_two_of_one_address_and_key_are_refused(tmp_path):
    one = '[[run.endpoint]]\nurl = "http://127.0.0.1:1"\nname = "{}"\n'
    text = one.format("a") + one.format("b")
    assert "given one address with one key twice" in refused(tmp_path, text)


def test_a_price_of_one_endpoint_will_do_for_a_budget(tmp_path):
    text = '[run]\nbudget_usd = 1\n[[run.endpoint]]\nurl = "http://127.0.0.1:8000"\n'
    assert refused(tmp_path, text) == (
        "headrace.toml [run]: budget_usd: given without --price, which it needs"
    )
    plan = planned(tmp_path, f'{text}price = "1/2"\n', HEADRACE_API_KEY="sk")
    assert plan.route("r").budget.usd == 1
