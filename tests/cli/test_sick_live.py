"""`headrace run` with sick endpoints, and what `headrace jobs why` says of them."""

import contextlib
import json
import socket

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

CALLS = 2_000
LATENCY_S = 0.1
SLOTS = 16


@pytest.fixture
def dead():
    """An address at which nobody listens, held so that nobody else gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def four(dead, provider):
    with contextlib.ExitStack() as stack:

        def one(latency_s, *flags):
            flags = ("--latency", f"constant:{latency_s}", *flags)
            return stack.enter_context(provider(*flags))

        yield {
            "good": one(LATENCY_S),
            "slow": one(10 * LATENCY_S),
            "failing": one(LATENCY_S, "--error-rate", "0.5"),
            "dead": dead,
        }


def test_a_slow_a_failing_and_a_dead_endpoint_cost_no_item_and_are_named(place, four):
    place.ask("in.jsonl", CALLS)
    urls = [part for url in four.values() for part in ("--base-url", url)]
    done = place.call(
        *("run", "in.jsonl", "-o", "out.jsonl", "--json"),
        *("--in-flight", str(SLOTS), "--max-attempts", "10", *urls),
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(row) for row in done.stdout.splitlines()]
    summary = next(e for e in events if e["event"] == "summary")
    assert summary["counts"]["succeeded"] == CALLS
    assert len(set(place.ids("out.jsonl"))) == CALLS
    # The good one alone would take 12.5 s; on a busy machine a call takes longer.
    assert summary["elapsed_s"] <= 1.3 * CALLS * LATENCY_S / SLOTS

    told = json.loads(place.call("jobs", "why", "out.jsonl", "--json").stdout)
    kinds = {sick["endpoint"]: sick["kind"] for sick in told["sick"]}
    names = {url: name for name, url in four.items()}
    assert {names[url]: kind for url, kind in kinds.items()} == {
        "slow": "slow",
        "failing": "failing",
        "dead": "dead",
    }
    page = place.call("jobs", "why", "out.jsonl").stdout
    assert f"{four['dead']}  answered nothing" in page
    assert "times the fastest" in page
    assert "tries failed, server_error" in page
