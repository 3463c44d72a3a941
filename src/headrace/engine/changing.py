"""What may change of an endpoint that takes calls, and what may not."""

from __future__ import annotations

from headrace.engine.site import Site
from headrace.errors import ConfigError
from headrace.model import Endpoint, Limits

_APPLIED = ("weight", "tier", "models", "prices", "limits")
_ACCOUNT = ("base_url", "key_env", "headers")
"""With another one of these it is another account, of which nothing is known."""


def changes_of(before: Endpoint, after: Endpoint) -> tuple[str, ...]:
    """Return the names of the fields that differ, of those that may.

    Raises:
        ConfigError: others differ; names them.
    """
    refused = [name for name in _ACCOUNT if _differ(before, after, name)]
    refused += _fixed_limits(before.limits, after.limits)
    if refused:
        raise ConfigError(
            f"endpoint {before.name!r}: given another {', '.join(refused)}, allowed "
            "while it takes calls are another weight, tier, models, price, and other "
            "numbers of limits that it has; drain it and add it anew"
        )
    return tuple(name for name in _APPLIED if _differ(before, after, name))


def change_site(site: Site, endpoint: Endpoint, now: float) -> None:
    """Let an endpoint be as stated anew; what was learnt and taken of it is kept."""
    if endpoint.limits != site.endpoint.limits:
        site.limit = site.limit.moved(endpoint.limits.most_in_flight)
        site.move_rates(endpoint.limits, now)
    site.endpoint = endpoint
    site.models = frozenset(endpoint.models)


def _differ(before: Endpoint, after: Endpoint, name: str) -> bool:
    return bool(getattr(before, name) != getattr(after, name))


def _fixed_limits(before: Limits, after: Limits) -> list[str]:
    """Return what of the limits cannot be moved, for calls under way count in it."""
    found = [
        name
        for name in ("calls_per_minute", "tokens_per_minute")
        if (getattr(before, name) is None) != (getattr(after, name) is None)
    ]
    if before.controllers != after.controllers:
        found.insert(0, "in_flight")
    found += [
        name
        for name in ("jitter_s", "token_accounting")
        if getattr(before, name) != getattr(after, name)
    ]
    return found
