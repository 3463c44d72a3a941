"""Brings the endpoints of a run under way to what its settings file now says."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.engine.pool import Pool, check_pool
from headrace.model import Endpoint


def reload_pool(pool: Pool, wanted: Sequence[Endpoint]) -> list[str]:
    """Add, remove and weigh anew; an endpoint is told by its name.

    Of one that stays only the weight changes.

    Returns:
        What was done, for people; empty if nothing had changed.

    Raises:
        ConfigError: an endpoint is refused; those before it are in place.
    """
    check_pool(wanted)
    had = {endpoint.name: endpoint for endpoint in pool.endpoints}
    told: list[str] = []
    for endpoint in wanted:
        before = had.pop(endpoint.name, None)
        if before is None:
            pool.add(endpoint)
            told.append(f"{endpoint.name} added")
        elif before.weight != endpoint.weight:
            pool.reweigh(endpoint.name, endpoint.weight)
            told.append(f"{endpoint.name} has the weight {endpoint.weight:g}")
    for name in had:
        pool.remove(name)
        told.append(f"{name} removed: its calls under way end there")
    return told
