"""`headrace serve` as its operator sees it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from shell_live import COMMAND, Serve, Served, clean_environment, serving

pytestmark = pytest.mark.live

NOWHERE = ("--base-url", "http://127.0.0.1:9")


def refused(folder: Path, *flags: str) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0", *flags],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stderr


def test_it_soon_says_that_it_answers_and_stops_when_asked(serve: Serve) -> None:
    with serve(*NOWHERE) as served:
        assert httpx2.get(f"{served.url}/nowhere").status_code == 404
        # Not by the clock, which also counts what others do on this machine.
        used = psutil.Process(served.process.pid).cpu_times()
        assert used.user + used.system < 4
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0


def test_without_keys_strangers_are_not_let_in(tmp_path: Path) -> None:
    code, told = refused(tmp_path, *NOWHERE, "--host", "0.0.0.0")
    assert code == 2
    assert "--host: given '0.0.0.0' without keys" in told
    assert "headrace keys add" in told


def test_without_an_address_to_call_it_does_not_start(tmp_path: Path) -> None:
    code, told = refused(tmp_path)
    assert code == 2
    assert "--base-url: given nothing" in told


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, told = refused(tmp_path, *NOWHERE, "--port", port)
    assert code == 5
    assert f"port {port}" in told


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that bears little."""
    little = {
        "HEADRACE_SERVE_CLIENT_TIMEOUT": "0.3",
        "HEADRACE_SERVE_MAX_HEADER_BYTES": "1024",
    }
    with serving(tmp_path_factory.mktemp("strict"), *NOWHERE, env=little) as served:
        yield served


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_sends_no_head_is_let_go(strict: Served, sent: bytes) -> None:
    with connected(strict.url) as client:
        client.sendall(sent)
        answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"type":"invalid_request_error"' in answer


def test_a_head_that_is_too_large_is_refused(strict: Served) -> None:
    with connected(strict.url) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"x-long: " + b"y" * 2_000)
        assert client.recv(4_096).startswith(b"HTTP/1.1 431")


def test_what_is_no_http_is_refused_in_the_envelope(strict: Served) -> None:
    with connected(strict.url) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b'"error"' in answer


def test_one_connection_too_many_is_refused(serve: Serve) -> None:
    one = {"HEADRACE_SERVE_MAX_CONNECTIONS": "1"}
    with (
        serve(*NOWHERE, env=one) as served,
        connected(served.url),
        connected(served.url) as second,
    ):
        assert second.recv(4_096).startswith(b"HTTP/1.1 503")
