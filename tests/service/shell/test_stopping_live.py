"""Asked to stop, a service lets calls under way end, for a while."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import httpx2
import pytest

from shell_live import Serve, Served

pytestmark = pytest.mark.live

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
Provide = Callable[..., contextlib.AbstractContextManager[str]]


class Asking(threading.Thread):
    """A client whose call is under way; `answer` is None if it was cut off."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._url = f"{served.url}/v1/chat/completions"
        self.answer: httpx2.Response | None = None
        self.start()

    def run(self) -> None:
        with contextlib.suppress(httpx2.HTTPError):
            self.answer = httpx2.post(self._url, json=CHAT, timeout=20)


@contextlib.contextmanager
def under_way(
    serve: Serve, provide: Provide, answer_s: float, grace_s: float
) -> Iterator[tuple[Served, Asking]]:
    """Give a service with a call that the provider has begun to answer."""
    with (
        provide("--latency", f"constant:{answer_s}") as url,
        serve("--base-url", url, "--grace", str(grace_s)) as served,
    ):
        client = Asking(served)
        pause = threading.Event()
        while not _in_flight(url):
            pause.wait(0.02)
        yield served, client
        client.join()


def _in_flight(url: str) -> int:
    with urlopen(f"{url}/_stats") as answer:
        told: dict[str, Any] = json.load(answer)
    return int(told["in_flight"])


def test_a_call_under_way_is_answered(serve: Serve, provide: Provide) -> None:
    with under_way(serve, provide, 1.0, 10) as (served, client):
        served.process.send_signal(signal.SIGTERM)
        client.join()
        assert client.answer is not None
        assert client.answer.status_code == 200
        assert served.process.wait(10) == 0


def test_meanwhile_no_one_else_is_let_in(serve: Serve, provide: Provide) -> None:
    with under_way(serve, provide, 2.0, 10) as (served, _):
        served.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx2.ConnectError):
            ask_for_ever(served)


def ask_for_ever(served: Served) -> None:
    pause = threading.Event()
    while True:
        httpx2.get(f"{served.url}/nowhere")
        pause.wait(0.02)


def test_a_call_that_takes_longer_than_the_grace_is_cut_off(
    serve: Serve, provide: Provide
) -> None:
    with under_way(serve, provide, 30.0, 0.5) as (served, client):
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(10) == 3
        client.join()
        assert client.answer is not None
        assert client.answer.status_code == 503
        assert client.answer.json()["error"]["code"] == "stopping"


def test_asked_twice_it_stops_at_once(serve: Serve, provide: Provide) -> None:
    with under_way(serve, provide, 30.0, 60) as (served, _):
        served.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.2)  # two signals at once may arrive as one
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(10) == 3
