"""Scenario files of whole runs are read, and refused clearly."""

import pytest

from headrace.errors import ConfigError
from headrace.model import Priority
from headrace.simulation.trial_file import (
    load_shipped,
    load_trial,
    parse_trial,
    shipped,
)

LEAST = "upstream: {cap: 4}\nworkload: {calls: 10}\n"


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        parse_trial(text, "mine")
    return str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_says_what_it_shows_and_expects(name):
    trial = load_shipped(name)
    assert trial.about.endswith(".")
    assert trial.expect


def test_a_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST + "expect: {failed: {max: 0}}\n")
    trial = load_trial(path)
    assert (trial.name, trial.duration_s) == ("mine", None)
    assert trial.expect["failed"].holds(0)
    assert not trial.expect["failed"].holds(1)


def test_several_groups_and_endpoints_are_read():
    trial = parse_trial(
        "upstreams: {a: {cap: 1}, b: {}}\n"
        "workload: [{name: x, calls: 1, priority: urgent}, {name: y, calls: 2}]\n"
        "expect: {x.wait_p95_s: {max: 1}, a.sent_share: {max: 0.1}}\n",
        "mine",
    )
    assert [endpoint.name for endpoint in trial.endpoints] == ["a", "b"]
    assert trial.workload[0].rank is Priority.URGENT


def test_a_change_begins_a_phase_that_stands_for_itself():
    trial = parse_trial(
        "upstream: {cap: 4, changes: [{at_s: 10, set: {cap: 2}}]}\nduration_s: 30\n",
        "mine",
    )
    assert trial.edges_s == (0.0, 10.0)
    phase = trial.phase(1)
    assert (phase.upstreams["upstream"].cap, phase.duration_s) == (2, 20.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", ["expected keys and values"]),
        ("a: [", ["mine"]),
        ("{}", ["one of upstream and upstreams"]),
        (LEAST + "speed: 1", ["speed", "allowed", "duration_s"]),
        ("upstream: {cap: -1}", ["upstream", "cap -1"]),
        ("upstream: {cap: 1}", ["calls has no number of calls", "duration_s"]),
        (LEAST + "timeout_s: 0", ["timeout_s 0", "from 0.001"]),
        (LEAST + "timeout_s: soon", ["timeout_s 'soon'", "number"]),
        (LEAST + "seeds: 101", ["seeds 101", "to 100"]),
        (LEAST + "limits: {in_flight: fast}", ["limits", "fast", "auto"]),
        (LEAST + "limits: {cap: 4}", ["limits: unknown key 'cap'", "in_flight"]),
        (LEAST + "expect: {speed: {min: 1}}", ["speed", "utilisation"]),
        (LEAST + "expect: {failed: {min: 2, max: 1}}", ["max 1", "min 2"]),
        (LEAST + "expect: {b.failed: {max: 1}}", ["b.failed", "calls, upstream"]),
        (LEAST + "best: {without: [b]}", ["no endpoint 'b'", "upstream"]),
        (LEAST + "best: [1, 2]", ["2 numbers for 1 phases"]),
        ("upstream: {}\nworkload: {calls: 0}", ["calls 0", "from 1 to"]),
        (
            "upstream: {}\nworkload: {calls: 1, arrival: rate}",
            ["arrival rate needs per_s"],
        ),
        (
            "upstream: {}\nworkload: {calls: 1, per_s: 4}",
            ["arrival backlog does not take per_s"],
        ),
        ("upstream: {}\nworkload: {calls: 1, arrival: all}", ["arrival", "bursts"]),
        ("upstream: {}\nworkload: [{calls: 1}, {calls: 1}]", ["not one for each"]),
        (
            "upstream: {changes: [{at_s: 9, set: {cap: 1}}]}\nduration_s: 9",
            ["changes.at_s 9", "not before duration_s 9"],
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text, words):
    message = refusal(text)
    for word in ["mine", *words]:
        assert word in message


def test_a_name_of_nothing_is_refused_with_the_names_that_there_are(tmp_path):
    with pytest.raises(ConfigError, match="neither a file nor one of app_limited"):
        load_shipped("nothing")
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_trial(tmp_path / "gone.yaml")
