"""Equal calls over runs, by the real command."""

import json
import random
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]


def request(name):
    messages = [{"role": "user", "content": f"hello {name}"}]
    return {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": messages, "max_tokens": 8},
    }


def calls_of(url):
    with urlopen(f"{url}/_stats") as answer:
        return json.load(answer)["calls"]


def summary_of(done):
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return next(event for event in events if event["event"] == "summary")


def asked(count, name, order=None):
    rows = [request(f"r{n}") for n in range(count)]
    if order is not None:
        random.Random(order).shuffle(rows)
    return [{**row, "custom_id": f"{name}-{row['custom_id']}"} for row in rows]


def contents(rows):
    return {
        row["custom_id"].partition("-")[2]: row["response"]["body"]["choices"]
        for row in rows
    }


def test_the_same_bodies_under_new_names_in_another_order_make_no_call(place, provider):
    place.write("A.jsonl", *asked(1_000, "a"))
    place.write("B.jsonl", *asked(1_000, "b", order=1))
    with provider("--latency", "constant:0.01") as url:
        flags = ("--base-url", url, "--cache", "--json")
        first = place.call("run", "A.jsonl", "-o", "OUT-A.jsonl", *flags)
        assert first.returncode == 0, first.stderr
        calls = calls_of(url)
        second = place.call("run", "B.jsonl", "-o", "OUT-B.jsonl", *flags)
        assert second.returncode == 0, second.stderr
        assert calls_of(url) == calls == 1_000
    told = summary_of(second)
    assert told["elapsed_s"] < 2
    assert told["this_run"]["tries"] == 0
    assert (told["cache"]["hits"], told["cache"]["misses"]) == (1_000, 0)
    assert place.ids("OUT-B.jsonl") == sorted(f"b-r{n}" for n in range(1_000))
    assert contents(place.rows("OUT-A.jsonl")) == contents(place.rows("OUT-B.jsonl"))


def test_equal_lines_of_one_run_are_one_call(place, provider):
    line = request("same")
    place.write("IN.jsonl", *({**line, "custom_id": f"c{n}"} for n in range(500)))
    with provider("--latency", "constant:0.3") as url:
        done = place.call(
            "run", "IN.jsonl", "-o", "OUT.jsonl", "--base-url", url, "--cache", "--json"
        )
        assert done.returncode == 0, done.stderr
        assert calls_of(url) == 1
    told = summary_of(done)["cache"]
    assert told["hits"] + told["joined"] == 499
    assert len(place.ids("OUT.jsonl")) == 500


def test_a_killed_run_hands_its_calls_to_the_next(place, provider):
    place.write("IN.jsonl", request("a"))
    place.write("IN2.jsonl", {**request("a"), "custom_id": "b"})
    with provider("--latency", "constant:2") as url:
        flags = ("--base-url", url, "--cache")
        first = place.start("run", "IN.jsonl", "-o", "OUT.jsonl", *flags)
        while not calls_of(url):
            assert first.poll() is None
        first.kill()
        first.communicate()
        second = place.call("run", "IN2.jsonl", "-o", "OUT2.jsonl", *flags)
    assert second.returncode == 0, second.stderr
    assert place.ids("OUT2.jsonl") == ["b"]


def test_without_the_flag_nothing_is_kept(place, fast):
    place.ask("IN.jsonl", 3)
    before = calls_of(fast)
    for out in ("A.jsonl", "B.jsonl"):
        place.call("run", "IN.jsonl", "-o", out, "--base-url", fast)
    assert calls_of(fast) == before + 6


def test_a_cache_store_that_is_away_fails_no_call(place, fast):
    place.ask("IN.jsonl", 3)
    done = place.call(
        "run", "IN.jsonl", "-o", "OUT.jsonl", "--base-url", fast,
        "--cache", "--cache-store", "redis://127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the cache fails" in done.stderr


def test_what_is_kept_can_be_seen_and_forgotten(place, fast):
    place.write("IN.jsonl", *asked(5, "a"))
    for out in ("A.jsonl", "B.jsonl"):
        flags = ("--base-url", fast, "--cache")
        assert place.call("run", "IN.jsonl", "-o", out, *flags).returncode == 0
    shown = json.loads(place.call("cache", "show", "--json").stdout)
    assert (shown["entries"], shown["hits"]) == (5, 5)
    assert "5 answers kept" in place.call("cache", "show").stdout
    assert place.call("cache", "clear").returncode == 2
    assert place.call("cache", "clear", "--yes").returncode == 0
    assert json.loads(place.call("cache", "show", "--json").stdout)["entries"] == 0
    assert len(place.rows("A.jsonl")) == 5


def test_a_cache_that_is_not_there_is_not_made(place):
    done = place.call("cache", "show")
    assert done.returncode == 2
    assert "there is no store" in done.stderr
    assert not (place / "headrace.db").exists()
