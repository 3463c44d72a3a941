"""What the API takes and gives for batches: checked here, and described by OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from headrace.service.documenting import Form, example
from headrace.service.openai.batch import BatchState, window_s
from headrace.service.openai.filedocs import ExpiresAfter
from headrace.wire import MAX_PATH_CHARS, check_path

MAX_PAIRS = 16
ID = r"^[A-Za-z0-9_-]{1,64}$"
_EXAMPLE: dict[str, Any] = {
    "input_file_id": "file-abcdefghijklmnopqrstuvwx",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "metadata": {"team": "search"},
}


_BATCH: dict[str, Any] = {
    "id": "batch_abcdefghijklmnopqrstuvwx",
    "object": "batch",
    "model": "m",
    "errors": None,
    "status": "in_progress",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1_795_657_539,
    "in_progress_at": 1_795_657_541,
    "expires_at": 1_795_743_939,
    "finalizing_at": None,
    "completed_at": None,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 100, "completed": 42, "failed": 0},
    "usage": None,
    "priority": "normal",
    "job_id": "job_4xk2qv7m5r3tn6yw2bha",
    "retry_of": None,
    "pause_reason": None,
    **_EXAMPLE,
}


def _window(value: str) -> str:
    window_s(value)
    return value


def _endpoint(value: str) -> str:
    if allowed := check_path(value):
        raise ValueError(f"allowed is {allowed}")
    return value


_WINDOWS = {
    "type": "string",
    "pattern": "^([1-9][0-9]{0,6}s|[1-9][0-9]{0,4}m|[1-9][0-9]{0,2}h"
    "|([1-9][0-9]?|[12][0-9][0-9])d)$",
}
_PATHS = {
    "type": "string",
    "maxLength": MAX_PATH_CHARS,
    "pattern": r"^(/[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*)+/?$",
}
Window = Annotated[str, AfterValidator(_window), WithJsonSchema(_WINDOWS)]
Path = Annotated[str, AfterValidator(_endpoint), WithJsonSchema(_PATHS)]
Key = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class BatchRequest(Form):
    """A batch as it is asked for."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    input_file_id: str = Field(description="A file uploaded with the purpose batch.")
    endpoint: Path = Field(description="The path that each line names.")
    completion_window: Window = Field(
        description="How long it may take: a number with s, m, h or d, such as 24h."
    )
    metadata: Annotated[dict[Key, Value], Field(max_length=MAX_PAIRS)] | None = Field(
        default=None, description="At most 16 pairs, kept with the batch."
    )
    output_expires_after: ExpiresAfter | None = Field(
        default=None, description="How long the files of the results are kept."
    )
    priority: Literal["low", "normal", "high", "urgent"] = Field(
        default="normal", description="How urgent it is; an extension of OpenAI's API."
    )


class Counts(BaseModel):
    """How many lines there are, were answered, and failed."""

    total: int
    completed: int
    failed: int


class ProblemObject(BaseModel):
    """What is wrong with the input."""

    code: str
    message: str
    param: str | None
    line: int | None


class Problems(BaseModel):
    """All that is wrong with the input, at most a hundred."""

    object: Literal["list"]
    data: list[ProblemObject]


class BatchObject(BaseModel):
    """A batch; every field is always there."""

    model_config = example(**_BATCH)

    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: Problems | None
    input_file_id: str
    completion_window: str
    status: BatchState
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    usage: dict[str, Any] | None
    metadata: dict[str, str] | None
    priority: str = Field(description="An extension of OpenAI's API.")
    job_id: str | None = Field(description="Of the job that it is; an extension.")
    retry_of: str | None = Field(description="Whose failed lines it has; an extension.")
    pause_reason: str | None = Field(
        description="Why its lines do not run now, such as a refused key; an extension."
    )


class BatchPage(BaseModel):
    """Some batches, newest first."""

    model_config = example(
        object="list",
        data=[_BATCH],
        first_id=_BATCH["id"],
        last_id=_BATCH["id"],
        has_more=False,
    )

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
