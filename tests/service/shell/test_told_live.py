"""What the operator is told at the start and at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shell_live import Serve, Served

pytestmark = [pytest.mark.live, pytest.mark.slow]


def stopped(served: Served) -> str:
    """Stop a service; return all that it told people."""
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(20) in (0, 3)
    assert served.process.stderr is not None
    return served.process.stderr.read()


def test_the_start_says_where_calls_go_and_who_may_come(serve: Serve) -> None:
    with serve("--base-url", "http://127.0.0.1:9/v1", "--grace", "7") as served:
        told = stopped(served).splitlines()
    assert told == [
        "calls go to http://127.0.0.1:9/v1",
        "jobs are kept in headrace.db",
        "nobody needs a key, so only this machine is heard; see `headrace keys add`",
        f"OpenAI clients take base_url {served.url}/v1 and any api_key; Ctrl-C stops",
        "stopping: what is under way may end within 7.0 s; a second Ctrl-C cuts it off",
        "stopped: nothing was cut off",
    ]


def test_who_stops_a_service_in_the_middle_of_a_job_is_told_that_it_goes_on(
    serve: Serve, provide: Callable[..., Any], tmp_path: Path
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    items = [
        {"custom_id": f"r{n}", "url": "/v1/chat/completions", "body": body}
        for n in range(50)
    ]
    with provide("--latency", "constant:0.2") as url:
        flags = ("--base-url", url, "--in-flight", "2")
        with serve(*flags) as served:
            sent = httpx2.post(f"{served.url}/api/v1/jobs", json=items)
            assert sent.status_code == 200, sent.text
            *_, last = stopped(served).splitlines()
        with serve(*flags) as served:
            first = stopped(served)
    assert "items of jobs go on at the next start" in last
    assert "items of former jobs wait, and go on now" in first
