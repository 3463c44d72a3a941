"""Open streams end when the key that opened them is revoked by another process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shell_live import COMMAND, Serve, clean_environment
from stream_clients import curl

pytestmark = pytest.mark.live


def keys(folder: Path, *args: str) -> dict[str, Any]:
    """Run `headrace keys` on the store of a folder."""
    done = subprocess.run(
        [*COMMAND, "keys", *args, "--json"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_streams_of_a_revoked_key_are_told_and_closed(
    serve: Serve, tmp_path: Path
) -> None:
    key = keys(tmp_path, "add")
    bearer = f"Bearer {key['key']}"
    with serve("--base-url", "http://127.0.0.1:9") as served:
        path = "/api/v1/events"
        link = connect(
            served.url.replace("http", "ws", 1) + path,
            additional_headers={"authorization": bearer},
            close_timeout=2,
        )
        with link, curl(served.url, path, key=bearer) as stream:
            assert next(stream)["event"] == "snapshot"
            assert json.loads(link.recv(5))["type"] == "snapshot"
            keys(tmp_path, "revoke", key["id"])
            closed = next(stream)
            with pytest.raises(ConnectionClosed) as told:
                link.recv(5)
        refused = httpx2.get(served.url + path, headers={"authorization": bearer})
    assert closed["event"] == "closed"
    assert json.loads(closed["data"])["error"]["code"] == "invalid_api_key"
    assert told.value.rcvd is not None
    assert (told.value.rcvd.code, told.value.rcvd.reason) == (
        4401,
        "this API key was revoked",
    )
    assert refused.status_code == 401
