"""An upstream that is away: whoever calls is told so."""

from __future__ import annotations

import time

import httpx2
import pytest

from servers import free_port
from shell_live import Serve

pytestmark = [pytest.mark.live, pytest.mark.slow]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def asked(url: str) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/chat/completions", json=CHAT, timeout=30)


def test_a_call_does_not_hang_while_nobody_listens(serve: Serve) -> None:
    with serve("--base-url", f"http://127.0.0.1:{free_port()}") as served:
        assert asked(served.url).status_code == 502
        began_at = time.monotonic()
        refused = asked(served.url)
        assert time.monotonic() - began_at < 12
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "upstream_down"
        assert refused.headers["retry-after"] == "7"
