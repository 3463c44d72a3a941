"""What every provider promises, whatever it calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import CallError, PermanentError, TransientError
from headrace.model import Endpoint, Reply
from headrace.providers.dialects import dialect_named
from headrace.providers.functions import (
    CoroutineProvider,
    ProcessProvider,
    ThreadProvider,
)
from headrace.providers.http import HttpProvider
from headrace.wire import HttpRequest

pytestmark = [pytest.mark.live, pytest.mark.slow]

KINDS = ["coroutine", "thread", "process", "http"]
WORDS = ["answer", "fail", "refuse", "hang"]


class Subject:
    """One provider whose calls do as the word says that they are given."""

    def __init__(self, provider: Any, endpoint: Endpoint, payload: Any) -> None:
        self.provider, self.endpoint, self._payload = provider, endpoint, payload

    async def send(self, call: Any, word: str) -> Reply:
        return await self.provider.send(call(self._payload(word)), self.endpoint)  # type: ignore[no-any-return]


@asynccontextmanager
async def subject(kind: str, raw_server: Any) -> AsyncIterator[Subject]:
    import obedient

    here = Endpoint("here")
    if kind == "http":

        async def talk(peer: Any) -> None:
            while True:
                _, _, word = await peer.request()
                if word == b'"hang"':
                    await peer.gone()
                status = {b'"fail"': 500, b'"refuse"': 400}.get(word, 200)
                await peer.answer(b'{"ok":1}', status)

        async with raw_server(talk) as server:
            provider: Any = HttpProvider(dialect_named("openai"), lambda _: None)
            yield Subject(
                provider,
                server.endpoint,
                lambda word: HttpRequest("/v1/x", f'"{word}"'.encode()),
            )
            await provider.close()
        return
    if kind == "coroutine":
        provider = CoroutineProvider(obedient.obey_later)
    elif kind == "thread":
        provider = ThreadProvider(obedient.obey, 2)
    else:
        provider = ProcessProvider(obedient.obey, 2)
    yield Subject(provider, here, lambda word: word)
    await provider.close()


@pytest.fixture(params=KINDS)
def using(
    request: pytest.FixtureRequest, raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def used(test: Any) -> None:
        async def main() -> None:
            async with subject(request.param, raw_server) as provider:
                await test(provider)

        asyncio.run(main())

    return used


def test_a_call_that_succeeds_has_a_body(using: Any, call: Any) -> None:
    async def test(it: Subject) -> None:
        assert (await it.send(call, "answer")).body in ({"ok": 1}, b'{"ok":1}')

    using(test)


@pytest.mark.parametrize(
    ("word", "kind"), [("fail", TransientError), ("refuse", PermanentError)]
)
def test_a_call_that_fails_says_whether_to_try_again(
    using: Any, call: Any, word: str, kind: type[CallError]
) -> None:
    async def test(it: Subject) -> None:
        with pytest.raises(kind):
            await it.send(call, word)
        assert (await it.send(call, "answer")).body

    using(test)


def test_a_hung_call_is_cancelled_promptly_and_delays_nobody(
    using: Any, call: Any
) -> None:
    async def test(it: Subject) -> None:
        await it.send(call, "answer")
        hung = [asyncio.create_task(it.send(call, "hang")) for _ in range(2)]
        done, _ = await asyncio.wait(hung, timeout=0.05)
        assert not done
        for task in hung:
            task.cancel()
        async with asyncio.timeout(1):
            await asyncio.gather(*hung, return_exceptions=True)
        assert all(task.cancelled() for task in hung)
        async with asyncio.timeout(10):
            assert (await it.send(call, "answer")).body

    using(test)


def test_closing_never_waits_for_a_hung_call_and_may_be_repeated(
    using: Any, call: Any
) -> None:
    async def test(it: Subject) -> None:
        await it.send(call, "answer")
        hung = asyncio.create_task(it.send(call, "hang"))
        await asyncio.wait([hung], timeout=0.05)
        async with asyncio.timeout(2):
            await it.provider.close()
            await it.provider.close()
        hung.cancel()
        await asyncio.gather(hung, return_exceptions=True)
        assert hung.done()

    using(test)


def test_calls_side_by_side_get_their_own_answers(using: Any, call: Any) -> None:
    async def test(it: Subject) -> None:
        words = ["answer", "fail"] * 10
        got = await asyncio.gather(
            *(it.send(call, word) for word in words), return_exceptions=True
        )
        kinds = [Reply if word == "answer" else TransientError for word in words]
        assert all(map(isinstance, got, kinds))

    using(test)
