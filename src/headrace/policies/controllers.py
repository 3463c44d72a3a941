"""Who may find out how many calls are in flight, by name; several may at once."""

from __future__ import annotations

from headrace.model import DEFAULT_IN_FLIGHT, Limits
from headrace.policies.adaptive import START, adaptive
from headrace.policies.concurrency import Aimd, Fixed, InFlightLimit


def build_in_flight(limits: Limits, start: int | None = None) -> InFlightLimit:
    """Return the limit of calls in flight that `limits` asks for.

    Args:
        limits: of one endpoint.
        start: what the last run learnt here; None = nothing is known.
    """
    in_flight = limits.in_flight
    if not isinstance(in_flight, str):
        return Fixed(DEFAULT_IN_FLIGHT if in_flight is None else in_flight)
    ceiling = limits.max_in_flight
    if in_flight == "aimd":
        return Aimd(min(start or START, ceiling), ceiling)
    return adaptive(ceiling, start)
