"""An event loop whose time leaps: hours of waiting pass in milliseconds.

Where the loop would block, time moves to the next timer; where nothing is scheduled and
nothing could wake it, `Deadlock` tells who waits for what. Two runs of the same program
see the same times. Threads and sockets keep real time and do not belong here.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from headrace.clock import SystemClock

T = TypeVar("T")

START_S = 1_000.0
"""Where virtual time begins; not 0.0, so that "no time yet" mistakes show."""

EPOCH_AT = 1_750_000_000.0
"""UTC seconds at virtual time 0."""

_WAKE_UP_PATIENCE_S = 1.0
_SAME_MOMENT_S = 1e-7
"""Timers this close fire together; above the spacing of floats up to 13 virtual years."""


class Deadlock(RuntimeError):
    """Every task waits, and nothing is scheduled that could wake one."""


class _LeapingSelector(selectors.DefaultSelector):
    """Polls for real events, and leaps instead of blocking."""

    def __init__(self, leap: Callable[[], None], give_up: Callable[[], None]) -> None:
        super().__init__()
        self._leap = leap
        self._give_up = give_up

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None:
            self._leap()
            return []
        if self._could_be_woken():
            ready = super().select(_WAKE_UP_PATIENCE_S)
        if not ready:
            self._give_up()
        return ready

    def _could_be_woken(self) -> bool:
        own_pipe = 1
        return len(self.get_map()) > own_pipe or threading.active_count() > 1


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time, which starts at `START_S`."""

    def __init__(self) -> None:
        self._now_s = START_S
        super().__init__(_LeapingSelector(self._leap, self._give_up))
        self._clock_resolution = _SAME_MOMENT_S

    def time(self) -> float:
        return self._now_s

    def _leap(self) -> None:
        """Move time to the next timer, exactly."""
        following: asyncio.TimerHandle = self._scheduled[0]  # type: ignore[attr-defined]
        self._now_s = max(self._now_s, following.when())

    def _give_up(self) -> None:
        waiting = sorted(_where(task) for task in asyncio.all_tasks(self))
        raise Deadlock(
            f"at {self._now_s:.3f} s all {len(waiting)} tasks wait and nothing is "
            "scheduled: " + "; ".join(waiting)
        )


def _where(task: asyncio.Task[Any]) -> str:
    """Return a task's name and the innermost line at which it waits."""
    awaited: Any = task.get_coro()
    frame: FrameType | None = None
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(
            awaited, "ag_frame", frame
        )
        awaited = getattr(awaited, "cr_await", None) or getattr(
            awaited, "ag_await", None
        )
    if frame is None:
        return task.get_name()
    code = frame.f_code
    return f"{task.get_name()} in {code.co_name} ({code.co_filename}:{frame.f_lineno})"


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time and return its result.

    Raises:
        Deadlock: all tasks wait, and nothing is scheduled.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """The clock of a virtual loop, with a fixed calendar and seeded chance."""

    def __init__(self, seed: int = 0) -> None:
        self._loop_clock = SystemClock(seed)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def utc(self) -> float:
        return EPOCH_AT + self.monotonic()

    def uniform(self) -> float:
        return self._loop_clock.uniform()

    async def sleep(self, seconds: float) -> None:
        await self._loop_clock.sleep(seconds)
