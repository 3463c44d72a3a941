"""What is refused before anything is sent, and how it is said."""

import json

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

NOWHERE = "http://127.0.0.1:1"
RUN = ("run", "in.jsonl", "-o", "out.jsonl", "--base-url", NOWHERE)

USAGE = [
    (("run",), "Missing argument 'IN'"),
    (("run", "in.jsonl", "-o", "out.jsonl"), "--base-url: given nothing"),
    ((*RUN, "--rpm", "0"), "--rpm: given '0', allowed calls per minute"),
    ((*RUN, "--rpm", "x"), "--rpm: given 'x', allowed calls per minute"),
    ((*RUN, "--in-flight", "few"), "--in-flight: given 'few', allowed a whole"),
    ((*RUN, "--budget-usd", "5"), "--budget-usd: given without --price"),
    ((*RUN, "--strategy", "best"), "--strategy: given 'best', allowed headroom"),
    ((*RUN, "--header", "Authorization: x"), "name it by --api-key-env"),
    ((*RUN, "--api-key-env", "MISSING"), "variable MISSING is not set"),
    ((*RUN, "--unknown"), "No such option"),
    (("run", "no.jsonl", *RUN[2:]), "no.jsonl: cannot be read"),
    (("run", "in.jsonl", "-o", "in.jsonl", *RUN[4:]), "would overwrite the input"),
    ((*RUN[:4], "--base-url", "https://api.example.com"), "no key for https://api"),
    (("jobs", "list"), "there is no store headrace.db"),
    (("jobs", "prune", "--older-than", "x"), "--older-than: given 'x'"),
]


@pytest.mark.parametrize(("args", "message"), USAGE)
def test_wrong_usage_ends_with_2_and_says_why(place, args, message):
    place.ask("in.jsonl", 1)
    done = place.call(*args)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "out.jsonl").exists()


BAD = [
    "not json",
    '{"custom_id": NaN}',
    "[1]",
    '{"method":"POST","url":"/v1/x","body":{}}',
    '{"custom_id":"d","method":"GET","url":"/v1/x","body":{}}',
    '{"custom_id":"e","method":"POST","url":"http://evil/v1/x","body":{}}',
    '{"custom_id":"f","method":"POST","url":"/v1/../x","body":{}}',
    '{"custom_id":"g","method":"POST","url":"/v1/x","body":[]}',
    '{"custom_id":"h\\u0000","method":"POST","url":"/v1/x","body":{}}',
    '{"custom_id":"good","method":"POST","url":"/v1/x","body":{}}',
]


def test_bad_lines_are_all_named_and_nothing_is_sent(place):
    place.write("in.jsonl", '{"custom_id":"good","url":"/v1/x","body":{}}', *BAD)
    done = place.call(*RUN)
    assert done.returncode == 2
    for number in range(2, 12):
        assert f"in.jsonl:{number}: " in done.stderr
    assert "nothing was sent" in done.stderr
    assert "no jobs" in place.call("jobs", "list").stdout


def test_bad_lines_can_be_left_out_and_stand_among_the_errors(place, fast):
    place.ask("in.jsonl", 3)
    with (place / "in.jsonl").open("a") as file:
        file.write("not json\n")
    run = (*RUN[:4], "--base-url", fast, "--skip-bad-lines")
    done = place.call(*run)
    assert done.returncode == 1, done.stderr
    assert len(place.ids("out.jsonl")) == 3
    (row,) = place.rows("out.errors.jsonl")
    assert row["error"]["code"] == "invalid_line"
    (place / "out.errors.jsonl").unlink()
    assert place.call(*run).returncode == 1
    assert place.rows("out.errors.jsonl") == [row]


def test_an_empty_input_is_refused(place):
    place.write("in.jsonl")
    done = place.call(*RUN)
    assert done.returncode == 2
    assert "at least one request" in done.stderr


def test_check_counts_what_is_asked_and_names_what_is_wrong(place):
    place.ask("in.jsonl", 3)
    done = place.call("check", "in.jsonl", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["requests"], found["bad_lines"]) == (0, 3, 0)
    assert found["kinds"][0]["model"] == "m"
    place.write("bad.jsonl", "no")
    bad = place.call("check", "bad.jsonl")
    assert bad.returncode == 2
    assert "bad.jsonl:1: " in bad.stderr


def test_a_plain_prompt_needs_a_model(place, fast):
    place.write("in.jsonl", {"prompt": "hello"}, {"prompt": "again"})
    run = (*RUN[:4], "--base-url", fast)
    assert "--model" in place.call(*run).stderr
    done = place.call(*run, "--model", "m")
    assert done.returncode == 0, done.stderr
    assert place.ids("out.jsonl") == ["line-1", "line-2"]


def test_a_limit_takes_the_first_lines(place, fast):
    place.ask("in.jsonl", 10)
    place.call(*RUN[:4], "--base-url", fast, "--limit", "3")
    assert place.ids("out.jsonl") == ["r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda place: (place / "headrace.db").write_bytes(b"x" * 5_000),
            "headrace.db",
        ),
        (lambda place: (place / "out.jsonl").mkdir(), "out.jsonl"),
    ],
    ids=["corrupt store", "output is a folder"],
)
def test_faults_of_this_machine_end_with_5(place, make, message):
    place.ask("in.jsonl", 1)
    make(place)
    done = place.call(*RUN)
    assert done.returncode == 5, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_nearest_name_is_offered_for_a_job_that_is_not_there(place, fast):
    place.ask("in.jsonl", 1)
    place.call(*RUN[:4], "--base-url", fast)
    done = place.call("jobs", "show", "outt.jsonl")
    assert done.returncode == 2
    assert "did you mean" in done.stderr
    assert "out.jsonl" in done.stderr


def test_results_hold_successes_and_failures(place, fast):
    place.ask("in.jsonl", 2)
    place.call(*RUN[:4], "--base-url", fast)
    shown = place.call("jobs", "results", "out.jsonl")
    assert len(shown.stdout.splitlines()) == 2
    assert place.call("jobs", "results", "out.jsonl", "-o", "r.jsonl").returncode == 0
    assert place.ids("r.jsonl") == ["r0", "r1"]


def test_prune_forgets_only_with_yes(place, fast):
    place.ask("in.jsonl", 1)
    place.call(*RUN[:4], "--base-url", fast)
    prune = ("jobs", "prune", "--older-than", "0s")
    assert place.call(*prune).returncode == 2
    assert place.call(*prune, "--yes").returncode == 0
    assert "no jobs" in place.call("jobs", "list").stdout


def test_why_tells_where_time_went(place, fast):
    place.ask("in.jsonl", 3)
    place.call(*RUN[:4], "--base-url", fast)
    done = place.call("jobs", "why", "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "in flight" in done.stdout
    assert "held by" in done.stdout
