"""What the admin API answers of keys, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from headrace.service.documenting import example
from headrace.service.principal import Scope
from headrace.terms import BudgetWindow

_KEY: dict[str, Any] = {
    "object": "key",
    "id": "key_3f1c9a0b7d2e4f56",
    "tenant": "search",
    "scopes": ["submit", "read"],
    "name": "",
    "created_at": 1795657539.5,
    "revoked_at": None,
    "limits": {"calls_per_minute": None, "tokens_per_minute": None, "in_flight": 4},
    "expires_at": None,
    "budget": {"usd": 50.0, "window": "month", "spent_usd": 1.25},
    "used_at": None,
}


class KeyLimitsObject(BaseModel):
    """How much may be asked for with a key; null is no limit."""

    calls_per_minute: float | None
    tokens_per_minute: float | None
    in_flight: int | None


class KeyBudgetObject(BaseModel):
    """What a key may spend."""

    usd: float
    window: BudgetWindow
    spent_usd: float


class KeyObject(BaseModel):
    """A key, without itself. Times are UTC seconds."""

    model_config = example(**_KEY)

    object: Literal["key"]
    id: str
    tenant: str
    scopes: list[Scope]
    name: str
    created_at: float
    revoked_at: float | None
    limits: KeyLimitsObject
    expires_at: float | None
    budget: KeyBudgetObject | None
    used_at: float | None


class MadeKey(KeyObject):
    """A key that was just made."""

    model_config = example(**_KEY, key="hr_…")

    key: str = Field(description="The key itself: shown this once.")


class KeyPage(BaseModel):
    """All keys, newest first."""

    model_config = example(object="list", data=[_KEY])

    object: Literal["list"]
    data: list[KeyObject]
