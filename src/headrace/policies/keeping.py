"""How long an answer is kept, how long to wait for one, and when to leave a cache alone."""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.terms import CacheRules

LEASE_S: Final = 10.0
"""How long a dead process may hold up others; a live one renews three times as often."""

REST_S: Final = 30.0
"""How long a cache that failed is left alone: three times what a locked file holds one up,
so at most one call in a rest is slow; and short beside the hours of a run."""

_FIRST_POLL_S: Final = 0.05
_LONGEST_POLL_S: Final = 0.5


class Lifetime(msgspec.Struct, frozen=True):
    """How long one answer is good for, and how long it is kept after that."""

    fresh_s: float | None
    """None = for ever."""
    kept_s: float | None
    """From now, >= `fresh_s`; past `fresh_s` it is given only if the call fails."""


def lifetime(rules: CacheRules, u: float) -> Lifetime:
    """Return how long an answer made now is kept.

    Args:
        rules: what the user asked for; `ttl_s` is not 0.
        u: 0 <= u < 1; answers made together do not end together.
    """
    if rules.ttl_s is None:
        return Lifetime(None, None)
    fresh_s = rules.ttl_s * (1.0 - rules.jitter * u)
    return Lifetime(fresh_s, fresh_s + rules.stale_if_error_s)


def poll_s(looks: int, u: float) -> float:
    """Return how long to wait before looking again whether the answer has come.

    Longer each time, and nobody at the same time: 0.5 to 1 of the step.

    Args:
        looks: how often it was looked before, >= 0.
        u: 0 <= u < 1.
    """
    step_s = min(_LONGEST_POLL_S, _FIRST_POLL_S * 2.0 ** min(looks, 10))
    return step_s * (0.5 + 0.5 * u)


class Rest(msgspec.Struct, frozen=True, gc=False):
    """When a cache that failed is asked again.

    A cache that hangs holds up whoever asks it. So it is left alone after a failure, and
    then one caller looks for all.

    Invariant: after a failure, at most one caller in `REST_S` seconds is let through
    until one of them was answered.
    """

    until: float | None = None
    """Monotonic seconds; None = it is well."""

    def allows(self, now: float) -> bool:
        """May it be asked now?"""
        return self.until is None or now >= self.until

    def asked(self, now: float) -> Rest:
        """Let only this one look, if it was not well."""
        return self if self.until is None else Rest(now + REST_S)

    def failed(self, now: float) -> Rest:
        """Leave it alone from now."""
        return Rest(now + REST_S)

    def answered(self) -> Rest:
        """It is well."""
        return self if self.until is None else Rest()
