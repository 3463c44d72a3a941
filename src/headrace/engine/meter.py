"""Counts what comes out of the engine and says how a run stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from headrace.clock import Clock
from headrace.engine.crew import Crew
from headrace.engine.gate import Gate
from headrace.events import CacheStatistics, Progress
from headrace.jobs import Counts
from headrace.model import ItemState, Outcome

_WINDOW_S = 10.0
"""Rates are means over this long."""
INTERVAL_S = 0.1
"""Shortest time between two reports."""


class Meter:
    """Adds up outcomes; `snapshot` is cheap enough for ten reports a second.

    Args:
        gate: where calls wait.
        crew: who makes them.
        clock: time.
        counts: how many items there are in each state, asked at each snapshot; None
            counts the outcomes seen.
    """

    def __init__(
        self,
        gate: Gate,
        crew: Crew,
        clock: Clock,
        counts: Callable[[], Counts] | None = None,
    ) -> None:
        self._gate = gate
        self._crew = crew
        self._clock = clock
        self._counts = counts
        self._started_at = clock.monotonic()
        self.cached: Callable[[], CacheStatistics] | None = None
        """Tells what a cache has saved; the caller sets it if there is one."""
        self.total = 0
        """Items known so far; the caller keeps it."""
        self.done = 0
        self.tries = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_usd: Decimal | None = None
        """None while no price is known; the caller may say what was spent before."""
        self._by_state: dict[ItemState, int] = dict.fromkeys(ItemState, 0)
        self._past: deque[tuple[float, int, int]] = deque()

    def note(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.done += 1
        self.tries += outcome.trace.tries
        self._by_state[outcome.state] += 1
        if outcome.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0) + outcome.cost_usd
        if outcome.usage is not None and not outcome.trace.cached:
            self.input_tokens += outcome.usage.input_tokens
            self.output_tokens += outcome.usage.output_tokens

    def snapshot(self) -> Progress:
        """Return how the run stands now."""
        now = self._clock.monotonic()
        calls_per_s, tokens_per_s = self._rates(now)
        counts = self._counts() if self._counts is not None else self._own_counts()
        left = counts.total - counts.ended
        return Progress(
            counts=counts,
            elapsed_s=now - self._started_at,
            in_flight=self._gate.in_flight,
            waiting=self._gate.waiting,
            backing_off=self._crew.resting - self._crew.joined,
            calls_per_s=calls_per_s,
            tokens_per_s=tokens_per_s,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            tries=self.tries,
            binding=self._gate.binding(),
            left_s=left / calls_per_s if calls_per_s > 0 else None,
            endpoints=self._gate.views(),
            cache=None if self.cached is None else self.cached(),
            cost_usd=self.cost_usd,
        )

    def _own_counts(self) -> Counts:
        by = self._by_state
        running = self._gate.in_flight + self._gate.waiting + self._crew.resting
        return Counts(
            total=max(self.total, self.done),
            queued=max(0, self.total - self.done - running),
            running=running,
            succeeded=by[ItemState.SUCCEEDED],
            failed=by[ItemState.FAILED],
            cancelled=by[ItemState.CANCELLED],
            expired=by[ItemState.EXPIRED],
            skipped=by[ItemState.SKIPPED],
        )

    def _rates(self, now: float) -> tuple[float, float]:
        past = self._past
        tokens = self.input_tokens + self.output_tokens
        while len(past) > 1 and past[1][0] <= now - _WINDOW_S:
            past.popleft()
        then, done, spent = past[0] if past else (self._started_at, 0, 0)
        if not past or now - past[-1][0] >= INTERVAL_S:
            past.append((now, self.done, tokens))
        if now <= then:
            return 0.0, 0.0
        return (self.done - done) / (now - then), (tokens - spent) / (now - then)
