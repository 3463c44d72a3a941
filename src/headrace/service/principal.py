"""Who asks: a tenant, and what it may do."""

from __future__ import annotations

from typing import Literal

import msgspec

Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("submit", "read", "admin")


class KeyLimits(msgspec.Struct, frozen=True):
    """How much may be asked for with one key; None = as much as there is.

    Args:
        calls_per_minute: requests of any kind, > 0.
        tokens_per_minute: of calls made at once, as estimated, > 0.
        in_flight: calls made at once, at the same moment, >= 1.
    """

    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: int | None = None


class Principal(msgspec.Struct, frozen=True):
    """Who asks.

    Args:
        tenant: owns what it makes, and sees nothing else; "" is everybody's without keys.
        scopes: what it may do.
        key_id: of its key; "" without one.
        limits: of its key.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str = ""
    limits: KeyLimits = KeyLimits()

    def may(self, scope: Scope) -> bool:
        """May it do this? Who may administer may do all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees(self) -> str | None:
        """The tenant whose things it sees; None = all of them."""
        return None if "admin" in self.scopes else self.tenant


LOCAL = Principal("", frozenset(SCOPES))
"""Whoever reaches a service on loopback that has no keys."""
