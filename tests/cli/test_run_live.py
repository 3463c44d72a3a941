"""`headrace run` as a user meets it: results, going on, and who may run at once."""

import json
import signal

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

FAST_RUN = ("run", "in.jsonl", "-o", "out.jsonl")


def ids_up_to(count):
    return sorted(f"r{i}" for i in range(count))


def line(name, **body):
    messages = [{"role": "user", "content": f"hello {name}"}]
    return {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": messages} | body,
    }


def until_answered(process, count):
    """Read events until so many items have ended."""
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "job" and event["version"] > count:
            return
    raise AssertionError("the run ended early")


def test_every_line_is_answered_once(place, fast):
    place.ask("in.jsonl", 40)
    done = place.call(*FAST_RUN, "--base-url", fast + "/v1")
    assert done.returncode == 0, done.stderr
    assert place.ids("out.jsonl") == ids_up_to(40)
    assert not (place / "out.errors.jsonl").exists()
    assert "40 of 40 items succeeded" in done.stderr


def test_the_same_command_again_sends_nothing(place, fast):
    place.ask("in.jsonl", 5)
    place.call(*FAST_RUN, "--base-url", fast)
    before = (place / "out.jsonl").read_bytes()
    again = place.call(*FAST_RUN, "--base-url", "http://127.0.0.1:1")
    assert again.returncode == 0
    assert "sent nothing" in again.stderr
    assert (place / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: out.unlink(),
        lambda out: out.write_bytes(out.read_bytes()[:-20]),
        lambda out: out.write_bytes(out.read_bytes() + b"rubbish"),
        lambda out: out.write_bytes(b"something else\n"),
    ],
    ids=["deleted", "cut", "appended", "foreign"],
)
def test_a_spoilt_output_is_made_right_and_nothing_sent_twice(place, fast, spoil):
    place.ask("in.jsonl", 10)
    place.call(*FAST_RUN, "--base-url", fast)
    spoil(place / "out.jsonl")
    again = place.call(*FAST_RUN, "--base-url", "http://127.0.0.1:1")
    assert again.returncode == 0, again.stderr
    assert place.ids("out.jsonl") == ids_up_to(10)


def test_another_input_under_the_same_name_is_refused_until_restart(place, fast):
    place.ask("in.jsonl", 5)
    place.call(*FAST_RUN, "--base-url", fast)
    place.ask("in.jsonl", 3)
    refused = place.call(*FAST_RUN, "--base-url", fast)
    assert refused.returncode == 2
    assert "--restart" in refused.stderr
    assert place.ids("out.jsonl") == ids_up_to(5)
    assert place.call(*FAST_RUN, "--base-url", fast, "--restart").returncode == 0
    assert place.ids("out.jsonl") == ids_up_to(3)


def test_failures_go_beside_and_a_retry_moves_them(place, fast):
    place.write("in.jsonl", line("good"), line("bad", messages=5))
    done = place.call(*FAST_RUN, "--base-url", fast)
    assert done.returncode == 1, done.stderr
    assert place.ids("out.jsonl") == ["good"]
    assert place.ids("out.errors.jsonl") == ["bad"]
    assert "jobs retry" in done.stderr


def test_a_retried_line_that_succeeds_stands_in_the_output_alone(place, provider):
    from_start = ("--error", "400=1.0")
    place.ask("in.jsonl", 3)
    with provider(*from_start) as failing:
        assert place.call(*FAST_RUN, "--base-url", failing).returncode == 1
    assert place.ids("out.errors.jsonl") == ids_up_to(3)
    assert place.call("jobs", "retry", "out.jsonl").returncode == 0
    with provider() as working:
        done = place.call(*FAST_RUN, "--base-url", working)
    assert done.returncode == 0, done.stderr
    assert place.ids("out.jsonl") == ids_up_to(3)
    assert not (place / "out.errors.jsonl").exists()


def test_a_killed_run_goes_on_and_repeats_nothing_that_stood_in_the_output(place, slow):
    place.ask("in.jsonl", 60)
    run = (*FAST_RUN, "--base-url", slow, "--in-flight", "10")
    with place.start(*run, "--json") as process:
        until_answered(process, 15)
        process.kill()
    done = place.call(*run)
    assert done.returncode == 0, done.stderr
    assert place.ids("out.jsonl") == ids_up_to(60)


def test_a_second_run_at_the_same_time_is_refused_with_the_pid_of_the_first(
    place, slow
):
    place.ask("in.jsonl", 60)
    run = (*FAST_RUN, "--base-url", slow, "--in-flight", "5")
    with place.start(*run, "--json") as first:
        until_answered(first, 5)
        second = place.call(*run)
        assert second.returncode == 5
        assert str(first.pid) in second.stderr
        first.send_signal(signal.SIGTERM)
        first.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_finish_and_the_same_command_goes_on(place, slow, number):
    place.ask("in.jsonl", 40)
    run = (*FAST_RUN, "--base-url", slow, "--in-flight", "8")
    with place.start(*run, "--json") as process:
        until_answered(process, 8)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 3
    assert "stopping: waiting for" in errors
    done = place.call(*run)
    assert done.returncode == 0, done.stderr
    assert place.ids("out.jsonl") == ids_up_to(40)


def test_a_second_signal_does_not_wait_for_hung_calls(place, provider):
    place.ask("in.jsonl", 10)
    with provider("--hang-rate", "1.0") as hanging:
        run = (*FAST_RUN, "--base-url", hanging)
        with place.start(*run, "--json") as process:
            in_flight(process)
            process.send_signal(signal.SIGINT)
            assert "stopping" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
        assert process.returncode == 3
    listed = place.call("jobs", "show", "out.jsonl", "--json")
    assert json.loads(listed.stdout)["counts"]["failed"] == 0


def in_flight(process):
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["in_flight"] > 0:
            return
    raise AssertionError("nothing was sent")


def test_a_cancel_reaches_a_live_run(place, slow):
    place.ask("in.jsonl", 500)
    run = (*FAST_RUN, "--base-url", slow, "--in-flight", "4", "--json")
    with place.start(*run) as process:
        until_answered(process, 4)
        assert place.call("jobs", "cancel", "out.jsonl").returncode == 0
        process.communicate(timeout=15)
    assert process.returncode == 1
    shown = json.loads(place.call("jobs", "show", "out.jsonl", "--json").stdout)
    assert shown["state"] == "cancelled"
    rows = place.ids("out.jsonl") + place.ids("out.errors.jsonl")
    assert sorted(rows) == ids_up_to(500)


def test_a_paused_job_is_not_run_until_resumed(place, slow):
    place.ask("in.jsonl", 20)
    run = (*FAST_RUN, "--base-url", slow, "--in-flight", "4")
    with place.start(*run, "--json") as process:
        until_answered(process, 4)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert place.call("jobs", "pause", "out.jsonl").returncode == 0
    paused = place.call(*run)
    assert paused.returncode == 3
    assert "jobs resume" in paused.stderr
    assert place.call("jobs", "resume", "out.jsonl").returncode == 0
    assert place.call(*run).returncode == 0


def test_an_interrupted_standard_output_run_goes_on_by_the_same_command(place, slow):
    place.ask("in.jsonl", 30)
    run = ("run", "-", "--base-url", slow, "--in-flight", "5")
    text = (place / "in.jsonl").read_text()
    with place.start(*run, stdin=-1) as process:
        process.stdin.write(text)
        process.stdin.close()
        process.stdout.readline()
        process.stdout.close()  # as `| head -1` does
        process.stdin = None
        assert process.wait(timeout=20) == 3
        assert "Traceback" not in process.stderr.read()
    done = place.call(*run, stdin=text)
    assert done.returncode == 0, done.stderr
    names = sorted(json.loads(row)["custom_id"] for row in done.stdout.splitlines())
    assert names == ids_up_to(30)
    assert "no jobs" in place.call("jobs", "list").stdout


def test_json_events_end_in_a_summary(place, fast):
    place.ask("in.jsonl", 5)
    done = place.call(*FAST_RUN, "--base-url", fast, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "summary"
    assert events[-1]["counts"]["succeeded"] == 5
    assert "progress" in {event["event"] for event in events}


def test_an_unreachable_endpoint_ends_the_run_with_nothing_failed(place):
    place.ask("in.jsonl", 20)
    run = (*FAST_RUN, "--base-url", "http://127.0.0.1:1", "--patience", "1")
    done = place.call(*run)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("headrace run:") == 1
    shown = json.loads(place.call("jobs", "show", "out.jsonl", "--json").stdout)
    assert shown["counts"]["failed"] == 0
