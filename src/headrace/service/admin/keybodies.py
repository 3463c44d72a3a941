"""What is sent to the admin API of keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from headrace.service.admin.bodies import InFlight, Rate
from headrace.service.documenting import Form
from headrace.service.principal import Scope
from headrace.terms import BudgetWindow

_MOST_USD = 10**9
Usd = Annotated[float, Field(gt=0, le=_MOST_USD)]
_MOST_S = 366 * 86_400


class KeyFields(Form):
    """How much may be asked for with a key; null is no limit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"budget_usd": 50}}
    )

    name: str = Field(default="", max_length=200, description="For people.")
    calls_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    in_flight: InFlight | None = None
    budget_usd: Usd | None = None
    budget_window: BudgetWindow | None = Field(
        default=None, description="When the budget begins anew; total is never."
    )

    def stated(self) -> dict[str, Any]:
        """Return what stands in the request."""
        found = {name: getattr(self, name) for name in self.model_fields_set}
        if (usd := found.get("budget_usd")) is not None:
            found["budget_usd"] = Decimal(str(usd))
        return found


class NewKeyFields(KeyFields):
    """A key that is wished for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "tenant": "search",
                "scopes": ["submit", "read"],
                "budget_usd": 50,
                "budget_window": "month",
            }
        },
    )

    tenant: str = Field(
        default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Whose it is."
    )
    scopes: list[Scope] = Field(
        default=["submit", "read"],
        min_length=1,
        max_length=3,
        description="What it may do; admin may do all, and sees all tenants.",
    )
    expires_in_s: float | None = Field(
        default=None, ge=1, le=_MOST_S, description="Then it is good for nothing."
    )
