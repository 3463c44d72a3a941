"""What the admin API answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_ENDPOINT: dict[str, Any] = {
    "name": "http://127.0.0.1:8001",
    "in_flight": 3,
    "in_flight_limit": 32,
    "state": "closed",
    "calls_used": None,
    "tokens_used": None,
    "quotas": [],
    "limit_reason": "",
    "learnt": [],
    "note": "",
    "base_url": "http://127.0.0.1:8001",
    "weight": 1.0,
    "tier": 0,
    "models": [],
    "limits": {
        "in_flight": "auto",
        "calls_per_minute": None,
        "tokens_per_minute": None,
        "jitter_s": 0.2,
        "token_accounting": "reserved",
        "max_in_flight": 512,
    },
}


class QuotaObject(BaseModel):
    """What a provider's headers say of one of its limits."""

    dimension: str
    limit: float | None
    remaining: float | None
    reset_s: float | None
    window_s: float


class LearntObject(BaseModel):
    """A rate limit that nobody stated, of one model."""

    model: str
    dimension: str
    per_minute: float
    used: float
    blocked_s: float
    source: str


class LimitsObject(BaseModel):
    """What an endpoint may be asked for; null = no limit is known."""

    in_flight: int | str | None
    calls_per_minute: float | None
    tokens_per_minute: float | None
    jitter_s: float
    token_accounting: str | None
    max_in_flight: int


class EndpointObject(BaseModel):
    """An endpoint as it stands; the last five only while it takes calls."""

    name: str
    in_flight: int
    in_flight_limit: int
    state: Literal["closed", "open", "half_open", "draining", "drained"]
    calls_used: float | None
    tokens_used: float | None
    quotas: list[QuotaObject]
    limit_reason: str
    learnt: list[LearntObject]
    note: str
    base_url: str = ""
    weight: float = 1.0
    tier: int = 0
    models: list[str] = []
    limits: LimitsObject | None = None


class EndpointPage(BaseModel):
    """All endpoints."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"object": "list", "data": [_ENDPOINT]}}
    )

    object: Literal["list"]
    data: list[EndpointObject]


class CacheObject(BaseModel):
    """What the cache did; null without one."""

    hits: int
    misses: int
    joined: int
    stale: int
    skipped: int
    input_tokens: int
    output_tokens: int
    usd: float | str | None
    entries: int | None
    bytes: int | None


class StatsObject(BaseModel):
    """The figures of this process."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "queued": 12,
                "in_flight": 3,
                "endpoints": [_ENDPOINT],
                "cache": None,
            }
        }
    )

    queued: int
    in_flight: int
    endpoints: list[EndpointObject]
    cache: CacheObject | None


class CleanupObject(BaseModel):
    """What was forgotten."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"removed": ["job_4xk2qv7m5r3tn6yw2bha"], "has_more": False}
        }
    )

    removed: list[str] = Field(description="Ids of jobs.")
    has_more: bool = Field(description="Another request is needed for the rest.")
