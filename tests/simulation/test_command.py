from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]

COMMAND = (
    "import typer; from headrace.cli.provider import provider; typer.run(provider)"
)


def start(*flags: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


@contextmanager
def running(*flags: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with start(*flags) as process:
        try:
            assert process.stdout is not None
            word, port = process.stdout.readline().split()
            assert word == "ready"
            yield process, int(port)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_once_it_is_ready_and_stops_cleanly(number: signal.Signals) -> None:
    with running("--latency", "constant:0", "--model", "m") as (process, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as answer:
            assert b'"m"' in answer.read()
        process.send_signal(number)
        assert process.wait(10) == 0


def test_a_port_in_use_exits_5_with_a_clear_message() -> None:
    with running() as (_, port), start("--port", str(port)) as second:
        _, told = second.communicate(timeout=20)
        assert second.returncode == 5
        assert f"port {port}" in told
        assert "Traceback" not in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--latency", "slow"], "--latency slow: scenario: latency 'slow' is none of"),
        (["--cap-mode", "x"], "allowed: refuse, queue"),
        (["--error", "503"], "--error 503: expected STATUS=SHARE"),
        (["--outage", "1"], "--outage 1: expected FROM:TO"),
        (["--host", "0.0.0.0"], "without --require-key only 127.0.0.1"),
        (["--require-key", "NO_SUCH_KEY"], "NO_SUCH_KEY: this environment variable"),
        (["--scenario", "/no/such.yaml"], "/no/such.yaml"),
        (["--error-rate", "0.7", "--drop-rate", "0.7"], "add up to 1.4"),
    ],
)
def test_a_bad_option_exits_2_and_names_what_is_allowed(
    flags: list[str], told: str
) -> None:
    with start(*flags) as process:
        _, message = process.communicate(timeout=20)
    assert process.returncode == 2
    assert told in message
    assert "Traceback" not in message


def test_flags_go_before_the_scenario_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text("rpm: 5\nlatency: constant:0.5\n")
    flags = (
        "--scenario",
        str(path),
        "--rpm",
        "7",
        "--outage",
        "100:200",
        "--no-headers",
    )
    with running(*flags) as (_, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_scenario") as answer:
            found = answer.read()
        assert b'"rpm":7.0' in found
        assert b'"latency":"constant:0.5"' in found
        assert b'"headers":false' in found
        assert b'"kind":"unavailable"' in found
