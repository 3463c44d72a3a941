"""What is noted of a simulated run: how it stood now and then, and how each call ended."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.clock import Clock
from headrace.engine.gate import Gate
from headrace.model import Trace
from headrace.simulation.upstream import Upstream


class Moment(msgspec.Struct, frozen=True, gc=False):
    """How a run stood, `at_s` seconds after its start."""

    at_s: float
    limits: tuple[int, ...]
    """Calls that may be in flight, by endpoint."""
    in_flight: tuple[int, ...]
    served: int
    """Calls that the upstreams work on, waiting ones not included."""
    sent: int
    """Calls that reached an upstream so far."""
    refused: int
    """How many of them were refused, by whatever limit."""
    done: int
    """Calls answered so far."""


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How one call ended."""

    at_s: float
    group: str
    is_ok: bool
    duration_s: float | None
    """Of its one attempt; None if there were several."""
    waited_s: float
    """For its turn: for a rate, a slot or an endpoint."""


class Record(msgspec.Struct, frozen=True):
    """All that is noted of one run, in order of time."""

    moments: list[Moment]
    endings: list[Ending]
    peak_in_flight: int
    ended_s: float
    sent: dict[str, int]
    """Calls that reached each upstream."""


class Recorder:
    """Notes how a run goes; looks at the gate from the outside, as people do.

    Args:
        gate: whose limits are watched.
        upstreams: the simulated provider of each endpoint.
        clock: of the loop.
    """

    def __init__(
        self, gate: Gate, upstreams: Mapping[str, Upstream], clock: Clock
    ) -> None:
        self._gate = gate
        self._upstreams = upstreams
        self._clock = clock
        self._started_s = clock.monotonic()
        self._moments: list[Moment] = []
        self._endings: list[Ending] = []
        self._done = 0
        self._peak = 0

    async def watch(self, interval_s: float) -> None:
        """Note how the run stands every `interval_s`; never returns."""
        while True:
            self.note_moment()
            await self._clock.sleep(interval_s)

    def note_moment(self) -> None:
        """Note how the run stands now."""
        views = self._gate.views()
        self._peak = max(self._peak, sum(view.in_flight for view in views))
        tallies = [upstream.tally for upstream in self._upstreams.values()]
        self._moments.append(
            Moment(
                at_s=self._elapsed_s(),
                limits=tuple(view.in_flight_limit for view in views),
                in_flight=tuple(view.in_flight for view in views),
                served=sum(tally.in_flight for tally in tallies),
                sent=sum(tally.calls for tally in tallies),
                refused=sum(tally.refused.total() for tally in tallies),
                done=self._done,
            )
        )

    def note_ending(self, group: str, trace: Trace, *, is_ok: bool) -> None:
        """Note how a call ended."""
        self._done += is_ok
        self._peak = max(self._peak, self._gate.in_flight)
        self._endings.append(
            Ending(
                at_s=self._elapsed_s(),
                group=group,
                is_ok=is_ok,
                duration_s=trace.in_flight_s if trace.tries == 1 else None,
                waited_s=trace.rate_s + trace.slot_s + trace.endpoint_s,
            )
        )

    def record(self) -> Record:
        """Return all that was noted, the present moment as the last."""
        self.note_moment()
        return Record(
            moments=self._moments,
            endings=self._endings,
            peak_in_flight=self._peak,
            ended_s=self._elapsed_s(),
            sent={name: up.tally.calls for name, up in self._upstreams.items()},
        )

    def _elapsed_s(self) -> float:
        return self._clock.monotonic() - self._started_s
