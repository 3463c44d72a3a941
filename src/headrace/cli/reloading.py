"""Brings the endpoints of a run under way to what its settings file now says."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.engine.pool import Pool
from headrace.model import Endpoint


def reload_pool(pool: Pool, wanted: Sequence[Endpoint]) -> list[str]:
    """Add, change and remove, all or nothing; an endpoint is told by its name.

    Returns:
        What was done, for people; empty if nothing had changed.

    Raises:
        ConfigError: one is refused, or a change of one; then nothing was done.
    """
    pool.check(wanted)
    had = {endpoint.name for endpoint in pool.endpoints}
    told: list[str] = []
    for endpoint in wanted:
        if endpoint.name not in had:
            pool.add(endpoint)
            told.append(f"{endpoint.name} added")
        elif changed := pool.change(endpoint):
            told.append(f"{endpoint.name} has other {', '.join(changed)}")
    for name in had - {endpoint.name for endpoint in wanted}:
        pool.remove(name)
        told.append(f"{name} removed: its calls under way end there")
    return told
