"""Functions of the user's own, in the loop, in threads and in processes."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ConfigError,
    ErrorCode,
    PermanentError,
    Throttled,
    TransientError,
)
from headrace.model import Endpoint
from headrace.providers.functions import (
    CoroutineProvider,
    ProcessProvider,
    ThreadProvider,
)

HERE = Endpoint("here")
live = pytest.mark.live
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def _functions_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


def named(name: str) -> str:
    return f"workfunctions:{name}"


@pytest.fixture
def ask(call: Any, run: Any) -> Callable[..., Any]:
    """Make one call of a provider made by `build`; return the value."""

    def asked(build: Callable[[], Any], payload: Any) -> Any:
        async def main() -> Any:
            provider = build()
            try:
                return (await provider.send(call(payload), HERE)).body
            finally:
                await provider.close()

        return run(main())

    return asked


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# --- coroutines


def test_a_coroutine_that_gives_itself_up_fails_only_its_call(ask: Any) -> None:
    async def give_up(_: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(TransientError) as caught:
        ask(lambda: CoroutineProvider(give_up), 1)
    assert caught.value.code is ErrorCode.FUNCTION_FAILED


# --- threads


def test_a_hung_thread_is_abandoned_counted_and_replaced(call: Any) -> None:
    release = threading.Event()

    def work(value: Any) -> Any:
        if value == "hang":
            release.wait()
        return value

    async def main() -> None:
        provider = ThreadProvider(work, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await provider.send(call("hang"), HERE)
        reply = await provider.send(call("next"), HERE)
        assert (reply.body, provider.abandoned) == ("next", 1)
        await provider.close()

    asyncio.run(main())
    release.set()


def test_no_more_threads_run_than_the_pool_is_large(call: Any) -> None:
    running, peak, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def work(value: Any) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        both.wait(5)
        with lock:
            running -= 1

    async def main() -> None:
        provider = ThreadProvider(work, 2)
        await asyncio.gather(*(provider.send(call(i), HERE) for i in range(10)))
        await provider.close()

    asyncio.run(main())
    assert peak == 2


def test_threads_are_used_again_and_end_with_the_pool(call: Any) -> None:
    idents: set[int] = set()
    threads: list[threading.Thread] = []

    def work(_: Any) -> None:
        idents.add(threading.get_ident())
        threads.append(threading.current_thread())

    async def main() -> None:
        provider = ThreadProvider(work, 4)
        for number in range(10):
            await provider.send(call(number), HERE)
        await provider.close()

    asyncio.run(main())
    threads[0].join(1)
    assert (len(idents), threads[0].is_alive()) == (1, False)


def test_a_thread_sees_the_context_of_its_call(ask: Any) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    who.set("me")
    assert ask(lambda: ThreadProvider(lambda _: who.get(), 1), 1) == "me"


def test_a_thread_that_leaves_the_interpreter_fails_only_its_call(ask: Any) -> None:
    with pytest.raises(TransientError, match="SystemExit: 3"):
        ask(lambda: ThreadProvider(lambda _: sys.exit(3), 1), 1)


def test_a_coroutine_function_needs_no_thread() -> None:
    async def work(_: Any) -> None: ...

    with pytest.raises(ConfigError, match="CoroutineProvider"):
        ThreadProvider(work, 1)


@pytest.mark.parametrize("kind", [ThreadProvider, ProcessProvider])
def test_a_pool_of_nothing_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError):
        kind(named("double"), 0)


# --- processes


@pytest.mark.parametrize(
    ("name", "payload", "value"),
    [
        ("double", 4, 8),
        ("double", "ab", "abab"),
        ("double_later", [1], [1, 1]),
        ("Tools.double", 4, 8),
        ("shout", {"a": None}, {"a": None}),
        ("shout", "x" * 1_000_000, "x" * 1_000_000),
        ("ask", 1, ""),
    ],
)
@live
@slow
def test_a_child_answers(ask: Any, name: str, payload: Any, value: Any) -> None:
    assert ask(lambda: ProcessProvider(named(name), 1), payload) == value


@pytest.mark.parametrize(
    ("name", "payload", "kind", "code", "text"),
    [
        ("fail", 1, TransientError, ErrorCode.FUNCTION_FAILED, "ValueError: not today"),
        ("refuse", 1, BadCall, ErrorCode.BAD_CALL, "our fault"),
        ("leave", 1, TransientError, ErrorCode.FUNCTION_FAILED, "SystemExit: 3"),
        ("die", 1, TransientError, ErrorCode.WORKER_DIED, "exit code 3"),
        ("odd", 1, BadReply, ErrorCode.BAD_REPLY, "no JSON form"),
        ("double", object(), BadCall, ErrorCode.BAD_CALL, "no JSON form"),
        ("absent", 1, PermanentError, ErrorCode.FUNCTION_FAILED, "cannot be loaded"),
        ("NOT_CALLABLE", 1, PermanentError, ErrorCode.FUNCTION_FAILED, "not callable"),
    ],
)
@live
@slow
def test_a_child_fails_its_call(
    ask: Any, name: str, payload: Any, kind: Any, code: ErrorCode, text: str
) -> None:
    with pytest.raises(CallError, match=text) as caught:
        ask(lambda: ProcessProvider(named(name), 1), payload)
    assert (type(caught.value), caught.value.code) == (kind, code)


@live
@slow
def test_a_call_error_of_a_child_keeps_its_facts(ask: Any) -> None:
    with pytest.raises(Throttled) as caught:
        ask(lambda: ProcessProvider(named("throttle"), 1), 1)
    error = caught.value
    assert (error.retry_after_s, error.dimension, error.status) == (3.0, "tokens", 429)


@live
@slow
def test_a_child_is_used_again_and_replaced_when_it_died(run: Any, call: Any) -> None:
    async def main() -> None:
        provider = ProcessProvider(named("pid"), 1)
        first, second = [(await provider.send(call(1), HERE)).body for _ in range(2)]
        assert first == second
        os.kill(first, 9)
        # Its death may still be unknown to this call, but not to the next.
        await asyncio.gather(provider.send(call(1), HERE), return_exceptions=True)
        assert (await provider.send(call(1), HERE)).body != first
        await provider.close()

    run(main())


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """Return the pids that `hang` noted, once it has."""
    path = tmp_path / "pids"

    def read() -> list[int]:
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    read.path = str(path)  # type: ignore[attr-defined]
    yield read
    for pid in filter(is_alive, read()):
        os.kill(pid, 9)


@live
@slow
def test_a_cancelled_child_is_killed_with_all_it_started(
    run: Any, call: Any, notes: Any, wait_until: Any
) -> None:
    async def main() -> None:
        provider = ProcessProvider(named("hang"), 1)
        task = asyncio.create_task(provider.send(call(notes.path), HERE))
        await wait_until(notes, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: not any(map(is_alive, notes())))
        await provider.close()

    run(main())


@live
@slow
def test_closing_kills_a_child_in_the_middle_of_its_call(
    run: Any, call: Any, notes: Any, wait_until: Any
) -> None:
    async def main() -> None:
        provider = ProcessProvider(named("hang"), 1)
        task = asyncio.create_task(provider.send(call(notes.path), HERE))
        await wait_until(notes, 5)
        await provider.close()
        with pytest.raises(TransientError) as caught:
            await task
        assert caught.value.code is ErrorCode.WORKER_DIED
        await wait_until(lambda: not any(map(is_alive, notes())))

    run(main())


PARENT = """
import asyncio, sys
sys.path.insert(0, {here!r})
from headrace.model import Call, Endpoint, Trace
from headrace.providers.functions import ProcessProvider, ThreadProvider
import time

async def main():
    call = Call("a", 0, {payload!r}, Trace())
    try:
        async with asyncio.timeout({timeout_s}):
            await {provider}.send(call, Endpoint("here"))
    except TimeoutError:
        print("timed out", flush=True)

asyncio.run(main())
"""


def parent(provider: str, payload: Any, timeout_s: float) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parent)
    code = PARENT.format(
        here=here, provider=provider, payload=payload, timeout_s=timeout_s
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


@live
@slow
def test_a_child_ends_when_its_parent_is_killed(notes: Any, wait_until: Any) -> None:
    async def main() -> None:
        with parent("ProcessProvider('workfunctions:hang', 1)", notes.path, 60) as run:
            await wait_until(notes, 10)
            run.kill()
        await wait_until(lambda: not is_alive(notes()[0]))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        ("ThreadProvider(time.sleep, 1)", 600),
        ("ProcessProvider('time:sleep', 1)", 600),
    ],
)
@live
@slow
def test_a_hung_call_never_holds_up_leaving(provider: str, payload: Any) -> None:
    with parent(provider, payload, 0.5) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"timed out\n"
        assert run.wait(1) == 0


def not_at_the_top() -> Callable[..., Any]:
    def inner(_: Any) -> None: ...

    return inner


def test_a_function_that_a_child_cannot_import_is_refused() -> None:
    import workfunctions

    def disguised(_: Any) -> None: ...

    disguised.__module__, disguised.__qualname__ = "workfunctions", "double"
    main = type("F", (), {"__call__": lambda self, x: x})()
    for function in (
        lambda x: x,
        not_at_the_top(),
        workfunctions.Tools().method,
        disguised,
        main,
    ):
        with pytest.raises(ConfigError):
            ProcessProvider(function, 1)


@pytest.mark.parametrize("name", ["double", "a:", ":b", "a b:c", "__main__:f", "a:b-c"])
def test_a_name_that_a_child_cannot_import_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        ProcessProvider(name, 1)


def test_a_function_of_main_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_: Any) -> None: ...

    work.__module__, work.__qualname__ = "__main__", "work"
    with pytest.raises(ConfigError, match="move it to a module"):
        ProcessProvider(work, 1)
