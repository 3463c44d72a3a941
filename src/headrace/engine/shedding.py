"""Refuses direct calls that would wait behind too many others.

Only calls that a caller waits for: the items of jobs wait in the store, where waiting
costs nothing and a refusal would lose them.
"""

from __future__ import annotations

from headrace.clock import Clock
from headrace.engine.gate import Gate
from headrace.errors import ConfigError, QueueFull
from headrace.model import Call, Handler, Layer, Reply
from headrace.policies.departures import Departures

_LEAST_S = 1.0
"""Shortest wait that is asked for; also where no departure has been seen."""


class Entrance:
    """Counts the direct calls of one route that are under way.

    Args:
        gate: where they wait.
        max_waiting: calls that may be under way beyond those in flight, >= 0.
        clock: time.

    Raises:
        ConfigError: `max_waiting` is negative.

    Invariant: at most `max_waiting` + `gate.capacity` calls are inside.
    """

    def __init__(self, gate: Gate, max_waiting: int, clock: Clock) -> None:
        if max_waiting < 0:
            raise ConfigError(
                f"max_waiting: given {max_waiting}, allowed 0 or more, or None"
            )
        self._gate = gate
        self._max_waiting = max_waiting
        self._clock = clock
        self._departures = Departures()
        self.inside = 0

    @property
    def waiting(self) -> int:
        """Direct calls that cannot be in flight now; those that back off count."""
        return max(0, self.inside - self._gate.capacity)

    def expected_wait_s(self) -> float | None:
        """Return how long who comes now would wait; None if nobody knows yet."""
        return self._departures.expected_wait_s(self.waiting + 1)

    def enter(self) -> None:
        """Count a call in.

        Raises:
            QueueFull: too many wait; nothing is counted.
        """
        waiting = self.waiting
        if self.inside >= self._gate.capacity + self._max_waiting:
            wait_s = max(_LEAST_S, self.expected_wait_s() or 0.0)
            raise QueueFull(
                f"{waiting} calls wait already, of {self._max_waiting} allowed; "
                f"try again in {wait_s:.0f} s",
                wait_s,
            )
        self.inside += 1

    def leave(self) -> None:
        """Count a call out, however it ended."""
        self.inside -= 1
        now = self._clock.monotonic()
        self._departures = self._departures.left(now, self.waiting)


def shedding(entrance: Entrance) -> Layer:
    """Return the layer that lets no more calls wait than `entrance` allows.

    A streamed reply has left when its chunks begin: it waits no more.
    """

    def layer(inner: Handler) -> Handler:
        async def shed(call: Call) -> Reply:
            entrance.enter()
            try:
                return await inner(call)
            finally:
                entrance.leave()

        return shed

    return layer
