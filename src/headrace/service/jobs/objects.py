"""What the jobs API answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from headrace.jobs import JobState
from headrace.model import ItemState
from headrace.service.admin.keyobjects import KeyBudgetObject, KeyLimitsObject
from headrace.service.documenting import example

_COUNTS = {
    "total": 2,
    "queued": 0,
    "running": 1,
    "succeeded": 1,
    "failed": 0,
    "cancelled": 0,
    "expired": 0,
    "skipped": 0,
}
_JOB: dict[str, Any] = {
    "object": "job",
    "id": "job_4xk2qv7m5r3tn6yw2bha",
    "route": "openai",
    "state": "in_progress",
    "counts": _COUNTS,
    "version": 3,
    "created_at": 1795657539.5,
    "priority": "normal",
    "tenant": "acme",
    "on_failure": {"threshold": None},
    "metadata": {},
    "deadline_at": None,
    "started_at": 1795657539.6,
    "ended_at": None,
    "pause_reason": "",
    "error": "",
    "input_tokens": 12,
    "output_tokens": 80,
    "cost_usd": 0.0002,
}
_ITEM: dict[str, Any] = {
    "object": "item",
    "number": 1,
    "index": 0,
    "custom_id": "a",
    "state": "succeeded",
    "status_code": 200,
    "code": None,
    "message": None,
    "attempts": 1,
    "tries": 1,
    "endpoint": None,
    "in_flight_s": 0.8,
    "cost_usd": 0.0002,
}
_ATTEMPT: dict[str, Any] = {
    "index": 0,
    "generation": 0,
    "attempt": 1,
    "code": "overloaded",
    "message": "HTTP 503: the provider failed",
    "ended_at": 1795657541.2,
    "status_code": 503,
    "endpoint": None,
    "in_flight_s": 0.4,
}


class ItemCounts(BaseModel):
    """How many items of a job are in each state."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    skipped: int


class OnFailure(BaseModel):
    """When failures end the job."""

    threshold: float | None = Field(
        description="None: never. 0: at the first. Else at more than that share failed."
    )


class JobObject(BaseModel):
    """A job; every field is always there. Times are UTC seconds."""

    model_config = example(**_JOB)

    object: Literal["job"]
    id: str
    route: str
    state: JobState
    counts: ItemCounts
    version: int = Field(description="Grows with each outcome and change of state.")
    created_at: float
    priority: Literal["low", "normal", "high", "urgent"]
    tenant: str
    on_failure: OnFailure
    metadata: dict[str, str]
    deadline_at: float | None
    started_at: float | None
    ended_at: float | None
    pause_reason: str
    error: str = Field(description="Why the job itself failed.")
    input_tokens: int
    output_tokens: int
    cost_usd: float


class RetriedJob(JobObject):
    """A job that runs again what had no answer."""

    model_config = example(**_JOB, queued_again=1)

    queued_again: int = Field(description="Items that run again.")


class JobPage(BaseModel):
    """Some jobs, newest first."""

    model_config = example(
        object="list",
        data=[_JOB],
        has_more=False,
        first_id=_JOB["id"],
        last_id=_JOB["id"],
    )

    object: Literal["list"]
    data: list[JobObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ItemObject(BaseModel):
    """How one item ended, without its answer."""

    object: Literal["item"]
    number: int = Field(description="Its place in the order of ends, from 1.")
    index: int = Field(description="Its place in the job, from 0.")
    custom_id: str
    state: ItemState
    status_code: int | None
    code: str | None
    message: str | None
    attempts: int
    tries: int
    endpoint: str | None = Field(description="Only for keys of scope admin.")
    in_flight_s: float
    cost_usd: float | None


class ItemPage(BaseModel):
    """Items that have ended, in the order of their ends."""

    model_config = example(object="list", data=[_ITEM], counts=_COUNTS)

    object: Literal["list"]
    data: list[ItemObject]
    counts: ItemCounts


class AttemptObject(BaseModel):
    """A failed try, or an outcome that a retry has made the past."""

    index: int
    generation: int = Field(description="Grows with each retry of the job.")
    attempt: int
    code: str
    message: str
    ended_at: float
    status_code: int | None
    endpoint: str | None = Field(description="Only for keys of scope admin.")
    in_flight_s: float


class AttemptPage(BaseModel):
    """The failed tries of an item, oldest first."""

    model_config = example(object="list", data=[_ATTEMPT])

    object: Literal["list"]
    data: list[AttemptObject]


class FailureObject(BaseModel):
    """Failures of one kind."""

    code: str
    status: int | None
    count: int
    example: str
    example_id: str


class SickObject(BaseModel):
    """An endpoint that did the job harm."""

    endpoint: str
    kind: Literal["dead", "failing", "slow"]
    answered: int
    failed: int
    code: str
    example: str
    mean_s: float
    times: float


class BindingKey(BaseModel):
    """What binds a job by its key, and how much of that is in use."""

    id: str
    limits: KeyLimitsObject
    budget: KeyBudgetObject | None
    in_flight: int = Field(description="Calls and items of the key that run now.")
    waiting: int = Field(description="Items that are next, and wait for the key.")


class ExplainedJob(JobObject):
    """A job, and where its time went."""

    model_config = example(
        **_JOB,
        failures=[],
        attempts=1,
        tries=1,
        hedges=0,
        hedges_won=0,
        endpoints={},
        sick=[],
        latency_s={"p50": 0.8, "p95": 0.8, "p99": 0.8},
        time_s={"in_flight": 0.8},
        bound="in_flight",
        key=None,
    )

    failures: list[FailureObject]
    attempts: int
    tries: int
    hedges: int
    hedges_won: int
    endpoints: dict[str, int] = Field(
        description="Outcomes by endpoint; only for keys of scope admin."
    )
    sick: list[SickObject] = Field(description="Only for keys of scope admin.")
    latency_s: dict[str, float]
    time_s: dict[str, float] = Field(description="Seconds by what they went to.")
    bound: str = Field(description="What held the job back most.")
    key: BindingKey | None = Field(description="The one it was submitted with.")


class EstimateObject(BaseModel):
    """What calls would take and cost."""

    model_config = example(
        seconds=61.2,
        calls_per_s=16.6,
        bound="calls_per_minute",
        usd=0.12,
        latency_s=1.2,
    )

    seconds: float | None = Field(description="None where no latency is known.")
    calls_per_s: float | None
    bound: str
    usd: float | None = Field(description="None if no price is known.")
    latency_s: float | None = Field(description="Of one call, as it was reckoned.")
