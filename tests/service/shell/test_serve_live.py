"""`headrace serve` as its operator sees it."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from shell_live import COMMAND, Serve, clean_environment

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


def test_it_says_when_it_answers_and_stops_when_asked(serve: Serve) -> None:
    with serve(*NOWHERE) as served:
        assert httpx2.get(f"{served.url}/nowhere").status_code == 404
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 0


def test_it_answers_soon_after_its_start(serve: Serve) -> None:
    began_at = time.monotonic()
    with serve(*NOWHERE) as served:
        httpx2.get(f"{served.url}/nowhere")
        assert time.monotonic() - began_at < 6  # 2 s on a machine of one's own


def test_without_keys_strangers_are_not_let_in(tmp_path: Path) -> None:
    code, told = refused(tmp_path, *NOWHERE, "--host", "0.0.0.0")
    assert code == 2
    assert "--host: given '0.0.0.0' without keys" in told
    assert "headrace keys create" in told


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


SLOW = {"HEADRACE_SERVE_CLIENT_TIMEOUT": "0.3"}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_sends_no_head_is_let_go(serve: Serve, sent: bytes) -> None:
    with serve(*NOWHERE, env=SLOW) as served, connected(served.url) as client:
        client.sendall(sent)
        answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"type":"invalid_request_error"' in answer


def test_a_head_that_is_too_large_is_refused(serve: Serve) -> None:
    few = {"HEADRACE_SERVE_MAX_HEADER_BYTES": "1024"}
    with serve(*NOWHERE, env=few) as served, connected(served.url) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"x-long: " + b"y" * 2_000)
        assert client.recv(4_096).startswith(b"HTTP/1.1 431")


def test_what_is_no_http_is_refused_in_the_envelope(serve: Serve) -> None:
    with serve(*NOWHERE) as served, connected(served.url) as client:
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
