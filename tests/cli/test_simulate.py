"""`headrace simulate` shows, draws and judges scenarios."""

import json
import sys

import pytest
from typer.testing import CliRunner

from headrace.cli.main import app

SMALL = """
about: Hard cap of 4.
upstream: {latency: "constant:1", cap: 4}
limits: {in_flight: 4}
duration_s: 10
expect: {utilisation: {min: 0.9}, refused: {max: 0}}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def call(*args):
    return CliRunner().invoke(app, ["simulate", *map(str, args)])


def test_a_scenario_is_run_and_its_table_shown(small):
    result = call(small)
    assert result.exit_code == 0
    assert "small: Hard cap of 4." in result.stdout
    assert ["utilisation", "100", "%", ">=", "90", "%", "ok"] in [
        line.split() for line in result.stdout.splitlines()
    ]


def test_what_is_not_as_expected_is_shown_and_ends_with_1(small):
    result = call(small, "--in-flight", "8")
    assert result.exit_code == 1
    assert "NOT OK" in result.stdout


def test_json_is_one_line_for_each_scenario(small):
    result = call(small, small, "--json", "--seeds", "2")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["scenario"] for line in lines] == ["small", "small"]
    assert lines[0]["ok"] is True
    assert lines[0]["seeds"] == 2
    assert lines[0]["measures"][0]["measure"] == "utilisation"


def test_the_shipped_ones_are_listed():
    result = call("--list")
    assert result.exit_code == 0
    assert "cap_even" in result.stdout


def test_a_picture_is_drawn_into_a_folder(small, tmp_path):
    pytest.importorskip("matplotlib")
    assert call(small, "--plot", tmp_path).exit_code == 0
    assert (tmp_path / "small.svg").exists()


def test_without_matplotlib_a_picture_is_refused_before_anything_is_run(
    small, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call(small, "--plot", tmp_path / "small.svg")
    assert result.exit_code == 2
    assert "headrace[plots]" in result.output
    assert not (tmp_path / "small.svg").exists()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ((), "--list"),
        (("nothing",), "neither a file nor one of"),
        (("cap_even", "--in-flight", "fast"), "fast"),
        (("cap_even", "--in-flight", "-1"), "-1"),
        (("cap_even", "--plot", "/nowhere/x.svg"), "no folder /nowhere"),
        (("cap_even", "knee", "--plot", "x.svg"), "one file for 2 scenarios"),
        (("cap_even", "--plot", "x.gif"), ".png or .svg"),
    ],
)
def test_a_bad_flag_ends_with_2_and_runs_nothing(args, word):
    result = call(*args)
    assert result.exit_code == 2
    assert word in result.output
    assert "measure" not in result.stdout
