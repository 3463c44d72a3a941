"""A service whose store is gone for good says so, and does not pretend to serve."""

from __future__ import annotations

import subprocess

import httpx2
import pytest

from servers import postgres_server
from shell_live import COMMAND, Serve, clean_environment

pytestmark = [pytest.mark.live, pytest.mark.postgres, pytest.mark.slow]


def test_without_its_store_it_ends_and_says_why(serve: Serve) -> None:
    with postgres_server() as server:
        store = f"{server.address}/postgres"
        migrate = [*COMMAND, "migrate", "--store", store]
        subprocess.run(migrate, check=True, env=clean_environment())
        with serve("--base-url", "http://127.0.0.1:9", "--store", store) as served:
            assert httpx2.get(f"{served.url}/nowhere").status_code == 404
            server.crash()
            assert served.process.wait(50) == 5
            assert served.process.stderr is not None
            assert "headrace serve:" in served.process.stderr.read()
        server.start()
