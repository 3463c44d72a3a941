"""Who asks: a tenant, and what it may do."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.terms import KeyTerms

Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("submit", "read", "admin")


class Principal(msgspec.Struct, frozen=True):
    """Who asks.

    Args:
        tenant: owns what it makes, and sees nothing else; "" is everybody's without keys.
        scopes: what it may do.
        key_id: of its key; "" without one.
        terms: what binds the calls of its key.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str = ""
    terms: KeyTerms = KeyTerms()

    def may(self, scope: Scope) -> bool:
        """May it do this? Who may administer may do all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees(self) -> str | None:
        """The tenant whose things it sees; None = all of them."""
        return None if "admin" in self.scopes else self.tenant


LOCAL = Principal("", frozenset(SCOPES))
"""Whoever reaches a service on loopback that has no keys."""
