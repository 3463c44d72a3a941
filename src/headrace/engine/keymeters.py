"""How many calls and items of each key start and are under way, in this process.

```
call at once ──► try_enter ──► goes, or is refused: its client comes again
item ──────────► enter ─────► waits in order until there is room
```
A call that was refused goes before the items when it comes again: they make way for
`_WAY_S` from when there is room. So a batch cannot shut its own key out.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

import msgspec

from headrace.clock import Clock
from headrace.engine.crew import Crew
from headrace.errors import LimitExceeded
from headrace.model import Limits
from headrace.policies.rate import Costs, RateLimit, build_rate
from headrace.terms import KeyLimits

_WAY_S = 2.0
_BUSY_S = 1.0
"""After so long a call is to come again that found all slots taken."""
_LOOK_AHEAD_S = 1.5
"""Items are leased that may start so soon; who leases looks once a second."""
_UNSTATED = 16
"""Items that may wait where only their tokens are limited."""
_MOST_METERS = 10_000

Leave = Callable[[], None]


class Full(msgspec.Struct, frozen=True):
    """Why a call may not go now."""

    limit: str
    """The field of `KeyLimits`."""
    wait_s: float
    """After so long it may; inf = never."""


class _Meter:
    """The calls of one key."""

    def __init__(self, limits: KeyLimits) -> None:
        self.state(limits)
        self.in_flight = 0
        self.items = 0
        """Of those in flight."""
        self.way_until = 0.0
        self.waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        """Items and their tokens."""
        self.timer: asyncio.TimerHandle | None = None

    def state(self, limits: KeyLimits) -> None:
        """Count by other limits from now on."""
        self.limits = limits
        self.rate: RateLimit = build_rate(
            Limits(
                calls_per_minute=limits.calls_per_minute,
                tokens_per_minute=limits.tokens_per_minute,
            )
        )

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not self.waiting

    def try_now(self, now: float, tokens: int) -> Full | None:
        """Start a call made at once; or return why it may not go."""
        if (full := self._no_slot(tokens)) is not None:
            return full
        costs = self.rate.costs(tokens)
        after = self.rate.try_now(now, costs)
        if after is None:
            wait_s = self.rate.earliest(now, costs) - now
            return self._too_fast(now, costs, max(0.1, wait_s))
        self.rate = after
        self.in_flight += 1
        return None

    def try_paced(self, now: float, tokens: int) -> Full | None:
        """Start an item; or return why it must wait."""
        if (full := self._no_slot(tokens)) is not None:
            return full
        costs = self.rate.costs(tokens)
        at = self.rate.earliest(now, costs)
        if at > now:
            return self._too_fast(now, costs, at - now)
        if self.rate.dims:
            self.rate = self.rate.reserve(now, costs)[0]
        self.in_flight += 1
        self.items += 1
        return None

    def never(self, tokens: int) -> str | None:
        """Return the limit that a call could never meet; None = there is none."""
        return self.rate.fits(self.rate.costs(tokens))

    def _no_slot(self, tokens: int) -> Full | None:
        if (never := self.never(tokens)) is not None:
            return Full(f"{never}_per_minute", math.inf)
        most = self.limits.in_flight
        is_full = most is not None and self.in_flight >= most
        return Full("in_flight", _BUSY_S) if is_full else None

    def _too_fast(self, now: float, costs: Costs, wait_s: float) -> Full:
        name = self.rate.binding(now, costs) or self.rate.dims[0].name
        return Full(f"{name}_per_minute", wait_s)


class KeyMeters:
    """The meters of all keys that have limits.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[str, _Meter] = {}

    def try_enter(self, key: str, limits: KeyLimits, tokens: int) -> Leave | Full:
        """Begin a call made at once; return what ends it, to be called once, or why not.

        Args:
            key: whose it is.
            limits: of the key.
            tokens: as estimated.
        """
        meter, now = self._meter(key, limits), self._clock.monotonic()
        if (full := meter.try_now(now, tokens)) is not None:
            if full.wait_s < math.inf and (meter.items or meter.waiting):
                meter.way_until = now + full.wait_s + _WAY_S
            return full
        meter.way_until = now

        def leave() -> None:
            meter.in_flight -= 1
            self._serve(meter)

        return leave

    async def enter(
        self, key: str, limits: KeyLimits, tokens: int, crew: Crew
    ) -> Leave:
        """Wait until an item may begin; return what ends it, to be called once.

        Args:
            key: whose it is.
            limits: of the key.
            tokens: as estimated.
            crew: whose worker waits.

        Raises:
            LimitExceeded: it takes more tokens than may ever start in a minute.
            Drained: this process stops.
        """
        meter = self._meter(key, limits)
        if meter.never(tokens):
            raise LimitExceeded(
                f"it may take {tokens} tokens, allowed with key {key} are "
                f"{limits.tokens_per_minute:g} a minute"
            )

        def leave() -> None:
            meter.in_flight -= 1
            meter.items -= 1
            self._serve(meter)

        now = self._clock.monotonic()
        is_first = not meter.waiting and meter.way_until <= now
        if is_first and meter.try_paced(now, tokens) is None:
            return leave
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        meter.waiting.append((turn, tokens))
        self._serve(meter)
        try:
            await crew.rest_until(turn)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                leave()
            else:
                turn.cancel()
                self._serve(meter)
            raise
        return leave

    def room(self, key: str, limits: KeyLimits, held: int) -> int:
        """Return how many more items may be leased that will soon start, >= 0.

        Args:
            key: whose they are.
            limits: of the key.
            held: items that are leased and have not ended.
        """
        meter = self._meter(key, limits)
        waiting = held - meter.items
        if limits.calls_per_minute is not None:
            ahead = 2 + int(limits.calls_per_minute / 60.0 * _LOOK_AHEAD_S)
        else:
            ahead = held + _UNSTATED if limits.tokens_per_minute is None else _UNSTATED
        room = ahead - waiting
        if limits.in_flight is not None:
            few = 1 + limits.in_flight // 8
            room = min(room, limits.in_flight - meter.in_flight + few - waiting)
        return max(0, room)

    def under_way(self, key: str) -> tuple[int, int]:
        """Return how many calls and items of a key run, and how many items wait for it.

        Those that wait in the store are not counted.
        """
        meter = self._meters.get(key)
        if meter is None:
            return 0, 0
        return meter.in_flight, sum(not turn.done() for turn, _ in meter.waiting)

    def _serve(self, meter: _Meter) -> None:
        """Let items go that may, in their order."""
        now = self._clock.monotonic()
        if meter.timer is not None:
            meter.timer.cancel()
            meter.timer = None
        waiting = meter.waiting
        while waiting:
            turn, tokens = waiting[0]
            if turn.done():
                waiting.popleft()
                continue
            if meter.way_until > now:
                self._wake(meter, meter.way_until - now)
                return
            if (full := meter.try_paced(now, tokens)) is not None:
                if full.limit != "in_flight":  # else whoever ends serves
                    self._wake(meter, full.wait_s)
                return
            waiting.popleft()
            turn.set_result(None)

    def _wake(self, meter: _Meter, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        meter.timer = loop.call_later(min(after_s, 60.0), self._serve, meter)

    def _meter(self, key: str, limits: KeyLimits) -> _Meter:
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= _MOST_METERS:
                self._meters = {k: m for k, m in self._meters.items() if not m.is_idle}
            meter = self._meters[key] = _Meter(limits)
        elif meter.limits != limits:
            meter.state(limits)
        return meter
