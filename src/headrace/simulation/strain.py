"""How the moment bears on a call at the simulated provider: slower, or failing."""

from __future__ import annotations

from headrace.simulation.chance import uniform
from headrace.simulation.scenario import Scenario

_STRAGGLER, _BURST_HIT, _BURST_BEGIN = 3, 4, 5
"""Places of `uniform`, beside those that `Upstream` draws from."""


def slowness(
    scenario: Scenario, elapsed_s: float, number: int, in_flight: int
) -> float:
    """Return how many times as long as it might the n-th call takes.

    Args:
        scenario: what the provider is like.
        elapsed_s: seconds since its start.
        number: of the call.
        in_flight: calls at once, this one included.
    """
    factor = 1.0
    slow = scenario.slow_start
    if slow is not None and elapsed_s < slow.for_s:
        factor = slow.factor
    if scenario.knee is not None:
        factor *= scenario.knee.factor(in_flight)
    late = scenario.stragglers
    if late is not None and uniform(scenario.seed, number, _STRAGGLER) < late.share:
        factor *= late.factor
    return factor


def burst_status(scenario: Scenario, elapsed_s: float, number: int) -> int:
    """Return what the n-th call is answered in a burst of failures; 0 = it is spared."""
    bursts, seed = scenario.failure_bursts, scenario.seed
    if bursts is None:
        return 0
    period, into_s = divmod(elapsed_s, bursts.every_s)
    free_s = bursts.every_s - bursts.for_s
    begins_s = free_s * uniform(seed, int(period), _BURST_BEGIN)
    if not begins_s <= into_s < begins_s + bursts.for_s:
        return 0
    is_hit = uniform(seed, number, _BURST_HIT) < bursts.share
    return bursts.status if is_hit else 0
