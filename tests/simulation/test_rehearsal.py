"""Whole runs through the real gate on virtual time, and what is measured of them."""

import math

import pytest

from headrace.errors import ConfigError
from headrace.simulation.picture import check_drawable, draw
from headrace.simulation.rehearsal import find_benchmarks, rehearse
from headrace.simulation.report import report_on
from headrace.simulation.trial_file import parse_trial

CAPPED = """
upstream: {latency: "constant:1", cap: 4, refusal_s: 0.05}
limits: {in_flight: 4}
duration_s: 20
"""


def trial(text):
    return parse_trial(text, "mine")


def test_the_best_fixed_limit_is_measured_as_one():
    found = rehearse(trial(CAPPED), 1).measures
    assert found["utilisation"] == pytest.approx(1.0)
    assert found["busy"] >= 0.9  # a look may fall between an end and the next begin
    assert found["refused"] == 0
    assert found["t95"] <= 2.5


def test_half_the_limit_is_measured_as_a_half_that_never_gets_there():
    found = rehearse(trial(CAPPED).with_in_flight(2), 1).measures
    assert found["utilisation"] == pytest.approx(0.5, abs=0.02)
    assert found["t95"] == math.inf


def test_what_the_upstream_refuses_is_counted():
    found = rehearse(trial(CAPPED).with_in_flight(6), 1).measures
    assert found["refused"] > 0
    assert found["tries_per_call"] > 1
    assert found["peak_in_flight"] == 6


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    varied = trial(
        'upstream: {latency: "lognormal:1:1", cap: 4}\nworkload: {calls: 40}'
    )
    first, again, other = (rehearse(varied, seed).record for seed in (1, 1, 2))
    assert first == again
    assert first.ended_s != other.ended_s


def test_each_phase_is_held_against_a_best_of_its_own():
    changed = trial(
        'upstream: {latency: "constant:1", cap: 8, changes: [{at_s: 20, set: {cap: 2}}]}\n'
        "limits: {in_flight: 8}\nduration_s: 40\n"
    )
    assert [found.in_flight for found in find_benchmarks(changed, 1)] == [8, 2]
    found = rehearse(changed, 1).measures
    assert found["phase1.utilisation"] == pytest.approx(1.0, abs=0.02)
    assert found["phase1.refused"] == 0
    assert found["phase2.refused"] > 0


def test_the_best_of_several_fixed_limits_is_searched():
    knee = trial(
        'upstream: {latency: "constant:1", knee: {level: 8, steepness: 3}}\n'
        "duration_s: 20\nbest: {search: [4, 8, 16]}\n"
    )
    assert find_benchmarks(knee, 1)[0].in_flight == 8


def test_calls_come_as_their_group_says():
    groups = trial(
        'upstream: {latency: "constant:1"}\nlimits: {in_flight: 64}\nworkload:\n'
        "  - {name: even, arrival: rate, per_s: 2, calls: 10}\n"
        "  - {name: burst, arrival: bursts, burst: 5, every_s: 10, calls: 10}\n"
    )
    rehearsal = rehearse(groups, 1)
    ends = {
        name: [e.at_s for e in rehearsal.record.endings if e.group == name]
        for name in ("even", "burst")
    }
    assert ends["even"] == pytest.approx([1 + n / 2 for n in range(10)], abs=0.01)
    assert ends["burst"] == pytest.approx([1.0] * 5 + [11.0] * 5, abs=0.01)


def test_a_report_gives_the_median_and_says_what_is_not_as_expected():
    capped = CAPPED + "expect: {utilisation: {min: 0.9}, refused: {min: 1}}\n"
    report = report_on(trial(capped), seeds=3)
    assert len(report.rehearsals) == 3
    assert [f.is_ok for f in report.findings[:2]] == [True, False]
    assert not report.is_ok


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_run_is_drawn(tmp_path, ending):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"mine.{ending}"
    draw(rehearse(trial(CAPPED), 1), path)
    begin = path.read_bytes()[:600]
    assert begin.startswith(b"\x89PNG") if ending == "png" else b"<svg" in begin


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.gif.*\.png or \.svg"):
        check_drawable(tmp_path / "mine.gif")
