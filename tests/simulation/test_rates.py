"""What a client must do to keep every model of a rate limit content."""

from __future__ import annotations

import asyncio

import pytest

from headrace.clock import Clock
from headrace.errors import Throttled
from headrace.model import Call, Endpoint, Trace
from headrace.simulation.meters import RateModel
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.scenario import Scenario
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.wire import HttpRequest

LIMIT = 600
JITTER_S = 0.2
ENDPOINT = Endpoint("e")
CALL = HttpRequest("/v1/completions", b'{"model":"m","prompt":"p"}')


def refusals(model: RateModel, per_s: float, minutes: int) -> tuple[int, int]:
    """Send calls evenly; return how many were refused and how many there were."""

    async def main() -> tuple[int, int]:
        clock: Clock = VirtualClock(5)
        upstream = Upstream(
            Scenario(rpm=LIMIT, rate_model=model, latency="lognormal:2"),
            clock.monotonic(),
        )
        provider = SimulatedProvider(upstream, clock, jitter_s=JITTER_S)

        async def one(n: int) -> int:
            await clock.sleep(n / per_s)
            try:
                await provider.send(Call(f"j-{n}", n, CALL, Trace()), ENDPOINT)
            except Throttled:
                return 1
            return 0

        sent = [one(n) for n in range(int(minutes * 60 * per_s))]
        return sum(await asyncio.gather(*sent)), len(sent)

    return run_virtual(main())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["token_bucket", "sliding_log", "fixed_minute"])
def test_a_pace_that_allows_for_jitter_is_never_refused(model: RateModel) -> None:
    """The rate of docs/design.md: (N - B) / (W + J) with a burst B of 1."""
    assert refusals(model, (LIMIT - 1) / (60 + JITTER_S), minutes=5)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["token_bucket", "sliding_log", "fixed_minute"])
def test_a_pace_above_the_limit_is_refused_by_the_excess(model: RateModel) -> None:
    refused, sent = refusals(model, 1.2 * LIMIT / 60, minutes=5)
    burst = LIMIT  # a full bucket, or a minute that has just begun
    assert sent - 5 * LIMIT - burst <= refused <= sent - 5 * LIMIT + burst
