"""What is sent to the admin API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from headrace.service.documenting import Form

_MOST = 10**9
Rate = Annotated[float, Field(gt=0, le=_MOST)]
Weight = Annotated[float, Field(gt=0, le=_MOST)]
InFlight = Annotated[int, Field(ge=1, le=100_000)]
Found = Literal["auto", "aimd", "cpu", "throughput"]


class NewEndpoint(Form):
    """An endpoint that is to take calls, too."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "second", "base_url": "http://127.0.0.1:8001"}
        },
    )

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    base_url: str = Field(min_length=1, max_length=2_000)
    api_key_env: str | None = Field(
        default=None,
        max_length=200,
        description="A variable that the settings name for an endpoint or for all; "
        "without it no key is sent.",
    )
    weight: Weight = 1.0
    tier: int = Field(default=0, ge=0, le=1_000)
    models: list[Annotated[str, Field(max_length=256)]] = Field(
        default=[], max_length=1_000, description="Empty = any."
    )
    in_flight: InFlight | Found = "auto"
    calls_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None


class NewWeight(Form):
    """An endpoint's share of the work."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"weight": 2}}
    )

    weight: Weight


class NewLimits(Form):
    """Other numbers of limits that an endpoint has; what is absent stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"calls_per_minute": 600}},
    )

    in_flight: InFlight | None = None
    max_in_flight: InFlight | None = None
    calls_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None


class Cleanup(Form):
    """Which jobs are to be forgotten."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"older_than_s": 2_592_000}},
    )

    older_than_s: float = Field(
        ge=0, le=10**10, description="Ended at least so many seconds ago."
    )
    dry_run: bool = Field(default=False, description="Only say which.")
