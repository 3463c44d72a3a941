"""SIGHUP: endpoints of a run under way come and go with headrace.toml."""

import json
import signal
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

TABLE = '[[run.endpoint]]\nname = "{}"\nurl = "{}"\nin_flight = 4\n'


def calls_of(url):
    with urlopen(f"{url}/_stats") as answer:
        return json.load(answer)["calls"]


def test_a_reload_moves_a_run_to_another_endpoint_and_loses_no_call(place, provider):
    place.ask("in.jsonl", 120)
    with provider("--latency", "constant:0.1") as old, provider() as new:
        place.write("headrace.toml", TABLE.format("old", old))
        run = place.start("run", "in.jsonl", "-o", "out.jsonl", "--json")
        for row in run.stdout:
            event = json.loads(row)
            if event["event"] == "progress" and event["counts"]["succeeded"]:
                break
        place.write("headrace.toml", TABLE.format("new", new))
        run.send_signal(signal.SIGHUP)
        _, told = run.communicate(timeout=40)
        assert run.returncode == 0, told
        assert "reloaded: new added; old removed" in told
        assert len(set(place.ids("out.jsonl"))) == 120
        assert calls_of(old) + calls_of(new) == 120
        assert calls_of(new) > 20
