from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.simulation.chance import uniform
from headrace.simulation.distribution import parse_distribution
from headrace.simulation.scenario import Outage, load_scenario, scenario_from


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "latency: lognormal:0.2\n"
        "rpm: 600\n"
        "error_rates:\n  503: 0.01\n"
        "outages:\n  - {from_s: 5, to_s: 9, kind: refuse}\n"
        "down: none\n"
    )
    found = load_scenario(path)
    assert (found.latency, found.rpm) == ("lognormal:0.2", 600)
    assert found.error_rates == {503: 0.01}
    assert found.outages == (Outage(5, 9, "refuse"),)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text("# nothing yet\n")
    assert load_scenario(path) == scenario_from({})


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "{a: ", "1: 2\n", "\0"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"scenario\.yaml"):
        load_scenario(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_scenario(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"latncy": 1}, r"'latncy'; allowed: seed, latency"),
        ({"latency": "normal:1"}, r"latency 'normal:1' is none of constant:VALUE"),
        ({"latency": "lognormal:-1"}, "latency"),
        ({"latency": "bimodal:1:2:3"}, "latency"),
        ({"cap": 0}, "cap 0 is not >= 1"),
        ({"rpm": "many"}, r"\$\.rpm"),
        ({"rpm": float("inf")}, "rpm inf"),
        ({"error_rate": 1.5}, "error_rate 1.5 is not from 0 to 1"),
        ({"error_rates": {200: 0.1}}, "status of error_rates 200"),
        ({"error_rate": 0.6, "drop_rate": 0.6}, "add up to 1.2"),
        ({"rate_model": "leaky"}, "allowed: token_bucket, sliding_log, fixed_minute"),
        ({"outages": [{"from_s": 5, "to_s": 4}]}, "outages.to_s"),
        ({"outages": [{"start": 5}]}, "allowed: from_s, to_s, kind"),
        ({"slow_start": {"for_s": 5, "factor": -1}}, "slow_start.factor"),
    ],
)
def test_what_is_refused_is_named_with_what_is_allowed(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        scenario_from(settings)


def test_a_partial_change_keeps_the_rest() -> None:
    base = scenario_from({"rpm": 60, "outages": [{"from_s": 1, "to_s": 2}]})
    changed = scenario_from({"latency": "constant:3"}, base)
    assert (changed.rpm, changed.outages) == (base.rpm, base.outages)


def draws(text: str, n: int = 20_000) -> list[float]:
    wanted = parse_distribution(text)
    return [wanted.at(uniform(1, k)) for k in range(n)]


def test_a_lognormal_latency_has_the_mean_and_spread_it_is_given() -> None:
    values = draws("lognormal:2:0.5")
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    assert mean == pytest.approx(2, rel=0.02)
    assert deviation / mean == pytest.approx(0.5, rel=0.05)


def test_a_bimodal_latency_is_slow_as_often_as_said() -> None:
    values = draws("bimodal:0.1:60:0.05")
    assert set(values) == {0.1, 60.0}
    assert values.count(60.0) == pytest.approx(1000, rel=0.15)


def test_chance_is_even_and_differs_by_seed_and_place() -> None:
    values = [uniform(5, k) for k in range(10_000)]
    assert all(0 < value < 1 for value in values)
    tenths = [0] * 10
    for value in values:
        tenths[int(value * 10)] += 1
    assert min(tenths) > 900
    assert len({uniform(5, 1), uniform(6, 1), uniform(5, 1, 1), uniform(5, 2)}) == 4
