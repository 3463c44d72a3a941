"""Thousands of connections that say nothing keep nobody from being answered."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from shell_live import Serve

pytestmark = [pytest.mark.live, pytest.mark.slow]

IDLE = 10_000
MEGABYTES = 150
"""What they may cost together; a quarter of that was seen."""


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_idle_connections_cost_little_and_hinder_nobody(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1_000:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serve("--base-url", "http://127.0.0.1:9") as served, ExitStack() as stack:
            parts = urlsplit(served.url)
            before = resident_mb(served.process.pid)
            for number in range(IDLE):
                source = f"127.0.0.{2 + number // 2_000}"  # ports of one are too few
                stack.enter_context(
                    socket.create_connection(
                        (parts.hostname, parts.port), 5, source_address=(source, 0)
                    )
                )
            assert httpx2.get(f"{served.url}/nowhere", timeout=5).status_code == 404
            assert resident_mb(served.process.pid) - before < MEGABYTES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
