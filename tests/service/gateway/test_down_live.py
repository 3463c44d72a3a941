"""An upstream that is away: whoever calls is told so, and hears when it is back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import httpx2
import pytest

from servers import free_port
from shell_live import Serve

pytestmark = [pytest.mark.live, pytest.mark.slow]

Provide = Callable[..., contextlib.AbstractContextManager[str]]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def asked(url: str) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/chat/completions", json=CHAT, timeout=30)


def test_a_call_does_not_hang_while_nobody_listens_and_goes_on_afterwards(
    serve: Serve, provide: Provide
) -> None:
    port = str(free_port())
    with serve("--base-url", f"http://127.0.0.1:{port}") as served:
        assert asked(served.url).status_code == 502
        began_at = time.monotonic()
        refused = asked(served.url)
        assert time.monotonic() - began_at < 12
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "upstream_down"
        assert refused.headers["retry-after"] == "7"
        with provide("--port", port):
            answers = (asked(served.url).status_code for _ in range(5))
            assert 200 in answers
