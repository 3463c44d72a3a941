"""`headrace run --budget-usd`: pauses when it is spent, and goes on with more."""

import json

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

RUN = ("run", "in.jsonl", "-o", "out.jsonl", "--json", "--in-flight", "4")


def summary_of(done):
    events = [json.loads(row) for row in done.stdout.splitlines()]
    return next(event for event in events if event["event"] == "summary")


def test_a_spent_budget_pauses_the_run_and_a_higher_one_goes_on(place, fast):
    place.ask("in.jsonl", 60)
    first = place.call(
        *RUN, "--base-url", fast, "--budget-usd", "0.0005", "--price", "1/2"
    )
    assert first.returncode == 3, first.stderr
    paused = summary_of(first)
    assert paused["state"] == "paused"
    assert 0 < paused["counts"]["succeeded"] < 60
    assert paused["counts"]["failed"] == 0
    assert 0 < paused["cost_usd"] <= 0.0005
    assert (
        "a higher --budget-usd to go on"
        in place.call("jobs", "why", "out.jsonl").stdout
    )
    again = place.call(
        *RUN, "--base-url", fast, "--budget-usd", "1.0", "--price", "1/2"
    )
    assert again.returncode == 0, again.stderr
    rows = [row["response"]["body"]["usage"] for row in place.rows("out.jsonl")]
    cost = sum(row["prompt_tokens"] + 2 * row["completion_tokens"] for row in rows)
    assert len(rows) == 60
    assert summary_of(again)["cost_usd"] == pytest.approx(cost / 1e6)


def test_prices_of_calls_without_tokens_are_refused_before_anything_is_kept(place):
    place.ask("in.jsonl", 1)
    done = place.call(
        *RUN, "--base-url", "http://127.0.0.1:1", "--dialect", "http", "--price", "1/2"
    )
    assert done.returncode == 2
    assert "knows of no tokens" in done.stderr
    assert not (place / "headrace.db").exists()


def test_other_models_of_calls_without_a_model_are_refused_likewise(place):
    place.ask("in.jsonl", 1)
    flags = (*RUN, "--base-url", "http://127.0.0.1:1", "--dialect", "http")
    done = place.call(*flags, "--fallback", "a=b")
    assert done.returncode == 2
    assert "knows of no models" in done.stderr
    assert not (place / "headrace.db").exists()


def test_a_model_without_a_price_is_not_sent(place, fast):
    place.ask("in.jsonl", 3)
    done = place.call(
        *RUN, "--base-url", fast, "--budget-usd", "1", "--price", "other=1/2"
    )
    assert done.returncode == 3
    assert summary_of(done)["counts"]["succeeded"] == 0
    shown = place.call("jobs", "show", "out.jsonl")
    assert "no price is known for model 'm'" in shown.stdout


def test_what_was_spent_before_a_kill_counts_and_nothing_counts_twice(place, slow):
    place.ask("in.jsonl", 40)
    flags = (*RUN, "--base-url", slow, "--price", "1/2")
    killed = place.start(*flags)
    for row in killed.stdout:
        event = json.loads(row)
        if event["event"] == "job" and event["version"] > 8:
            break
    killed.kill()
    killed.communicate()
    again = place.call(*flags, "--budget-usd", "1")
    assert again.returncode == 0, again.stderr
    rows = [row["response"]["body"]["usage"] for row in place.rows("out.jsonl")]
    cost = sum(row["prompt_tokens"] + 2 * row["completion_tokens"] for row in rows)
    summary = summary_of(again)
    assert summary["this_run"]["outcomes"]["succeeded"] < 40
    assert summary["cost_usd"] == pytest.approx(cost / 1e6)
