"""The official Python client, in front of a real service and a simulated provider."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from openai import OpenAI

from shell_live import Serve, providing, serving

pytestmark = pytest.mark.live

HELLO: Any = [{"role": "user", "content": "hello"}]
Provide = Callable[..., contextlib.AbstractContextManager[str]]
Start = Callable[..., contextlib.AbstractContextManager[tuple[OpenAI, str]]]


@pytest.fixture
def start(serve: Serve, provide: Provide) -> Start:
    """Start a provider and a service; give a client, and the provider's address."""

    @contextlib.contextmanager
    def both(
        *flags: str, of_service: tuple[str, ...] = ()
    ) -> Iterator[tuple[OpenAI, str]]:
        with (
            provide(*flags) as url,
            serve("--base-url", url, *of_service) as served,
            client_of(f"{served.url}/v1") as client,
        ):
            yield client, url

    return both


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a service whose provider answers at once."""
    folder = tmp_path_factory.mktemp("fast")
    flags = ("--latency", "constant:0.001", "--rpm", "60000")
    with (
        providing(folder, *flags) as url,
        serving(folder, "--base-url", url) as served,
    ):
        yield served.url


def client_of(url: str) -> OpenAI:
    return OpenAI(api_key="sk-client", base_url=url)


def statistics(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/_stats") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.parametrize("path", ["/v1", ""])
def test_all_calls_of_the_client_are_answered(fast: str, path: str) -> None:
    with client_of(fast + path) as client:
        chat = client.chat.completions.create(model="m", messages=HELLO, max_tokens=8)
        assert chat.choices[0].message.content
        assert chat.usage is not None
        assert chat.usage.total_tokens > 0
        assert client.completions.create(model="m", prompt="a").choices[0].text
        vectors = client.embeddings.create(model="m", input=["a", "b"])
        assert len(vectors.data) == 2
        assert client.responses.create(model="m", input="a").output_text
        assert isinstance(client.models.list().data, list)


def test_a_streamed_chat_is_the_whole_one_in_pieces(fast: str) -> None:
    with client_of(f"{fast}/v1") as client:
        with client.chat.completions.create(
            model="m",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            events = list(stream)
        assert len(events) > 1
        assert events[-1].usage is not None


def test_the_answer_tells_the_id_of_the_service_and_limits_of_the_provider(
    fast: str,
) -> None:
    with client_of(f"{fast}/v1") as client:
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=HELLO
        )
        assert (raw.request_id or "").startswith("req_")
        assert any(name.startswith("x-ratelimit-") for name in raw.headers)


def test_a_provider_that_fails_half_the_time_is_not_noticed(start: Start) -> None:
    flags = ("--latency", "constant:0.001", "--error-rate", "0.3", "--seed", "5")
    with start(*flags) as (client, _):
        patient = client.with_options(max_retries=0)
        for _ in range(10):
            patient.chat.completions.create(model="m", messages=HELLO)


def test_an_unknown_model_raises_the_client_s_own_error(start: Start) -> None:
    with start("--model", "known") as (client, _), pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=HELLO)


def test_the_client_s_time_limit_ends_the_call_at_the_provider(start: Start) -> None:
    with start("--latency", "constant:30") as (client, url):
        hasty = client.with_options(timeout=0.3, max_retries=0)
        with pytest.raises((openai.APITimeoutError, openai.APIStatusError)):
            hasty.chat.completions.create(model="m", messages=HELLO)
        assert until(lambda: statistics(url)["in_flight"] == 0)


def test_a_client_that_leaves_a_stream_frees_its_place(start: Start) -> None:
    flags = ("--latency", "constant:20", "--output-tokens", "constant:200")
    with start(*flags, of_service=("--in-flight", "1")) as (client, url):
        stream = client.chat.completions.create(
            model="m", messages=HELLO, stream=True, max_tokens=200
        )
        next(iter(stream))
        stream.close()
        assert until(lambda: statistics(url)["in_flight"] == 0)


def until(holds: Callable[[], bool]) -> bool:
    """Wait up to five seconds for something to hold."""
    pause = threading.Event()
    for _ in range(100):
        if holds():
            return True
        pause.wait(0.05)
    return False


def test_too_many_calls_are_told_when_to_come_again(start: Start) -> None:
    few = ("--in-flight", "1", "--max-queued", "1")
    with start("--latency", "constant:1", of_service=few) as (client, _):
        hasty = client.with_options(max_retries=0)
        found: list[Any] = []

        def ask() -> None:
            try:
                found.append(hasty.chat.completions.create(model="m", messages=HELLO))
            except openai.RateLimitError as error:
                found.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [each for each in found if isinstance(each, openai.RateLimitError)]
        assert len(refused) == 2
        assert all(float(e.response.headers["retry-after"]) >= 1 for e in refused)
