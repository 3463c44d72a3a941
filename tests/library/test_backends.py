from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import headrace
from headrace import Limits, Outcome, Retry

_ONCE = Retry(max_attempts=1)


def test_a_plain_function_runs_in_threads() -> None:
    def where(_item: int) -> bool:
        return threading.current_thread() is threading.main_thread()

    outcomes = asyncio.run(headrace.run(where, range(3)))
    assert [o.value for o in outcomes] == [False] * 3


@pytest.mark.live
@pytest.mark.slow
def test_a_named_function_runs_in_processes() -> None:
    outcomes = asyncio.run(
        headrace.run("math:sqrt", [1, 4, 9], limits=Limits(in_flight=2))
    )
    assert [o.value for o in outcomes] == [1, 2, 3]


_HUNG = {
    "coroutine": """
        async def work(i):
            if i == 25:
                await asyncio.Event().wait()
            return i
        function, more = work, {}
    """,
    "thread": """
        def work(i):
            if i == 25:
                time.sleep(3600)
            return i
        function, more = work, {"backend": "thread"}
    """,
    "process": """
        function, more = "hung:work", {}
    """,
}


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("backend", _HUNG)
def test_one_hung_call_among_fifty_delays_nobody(
    backend: str, tmp_path: object
) -> None:
    (tmp_path / "hung.py").write_text(  # type: ignore[operator]
        "import time\ndef work(i):\n    if i == 25: time.sleep(3600)\n    return i\n"
    )
    script = (
        textwrap.dedent(
            """
        import asyncio, time, headrace
        from headrace import Limits, Retry, stream
        """
        )
        + textwrap.dedent(_HUNG[backend])
        + textwrap.dedent(
            """
        async def main():
            start = time.monotonic()
            early = 0
            options = dict(limits=Limits(in_flight=8), timeout_s=3.0,
                           retry=Retry(max_attempts=1))
            async for o in stream(function, range(50), **options, **more):
                at = time.monotonic() - start
                early += o.ok
                if not o.ok:
                    print(early, "early", o.index, o.failure.code, 3 <= at < 5)
        asyncio.run(main())
        print("left", flush=True)
        """
        )
    )
    lines = []
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=str(tmp_path),
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.strip())
            if line.startswith("left"):
                break
        left_at = time.monotonic()
        assert child.wait(10) == 0
        exit_s = time.monotonic() - left_at
    assert lines == ["49 early 25 request_timeout True", "left"]
    assert exit_s < 1.0


def test_a_coroutine_that_swallows_its_cancellation_does_not_hold_up_leaving() -> None:
    async def stubborn(_item: int) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    async def main() -> tuple[list[Outcome], float]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        outcomes = await headrace.run(
            stubborn, [1], timeout_s=0.05, retry=_ONCE, deadline_s=0.2
        )
        left_s = loop.time() - start
        released.set()
        return outcomes, left_s

    released = asyncio.Event()
    outcomes, left_s = asyncio.run(main())
    assert left_s < 2.0
    assert [o.ok for o in outcomes] == [False]
