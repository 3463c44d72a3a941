"""A job and an item have one form, in answers, in events and in the description."""

from __future__ import annotations

import msgspec

from headrace.errors import ErrorCode
from headrace.jobs import AttemptRecord, Counts, Job, JobState
from headrace.model import Failure, ItemState, Outcome
from headrace.service.jobs.objects import AttemptObject, ItemObject, JobObject
from headrace.service.jobs.views import attempt_view, item_view, job_view
from headrace.service.stream.views import item_body, view_of_job

JOB = Job(
    "job_a",
    1,
    "openai",
    JobState.PAUSED,
    Counts(total=2, succeeded=1, failed=1),
    3,
    1.5,
    name="/home/me/out.jsonl",
    idempotency_key="k",
    pause_reason="upstream: no endpoint answered; the last error, from gpu-1: no",
)
OUTCOME = Outcome(
    "a", 0, ItemState.FAILED, failure=Failure(ErrorCode.OVERLOADED, "HTTP 503", 503)
)


def test_events_tell_a_job_as_answers_do() -> None:
    assert msgspec.json.decode(view_of_job(JOB).body) == job_view(JOB)


def test_events_tell_an_item_as_answers_do() -> None:
    assert msgspec.json.decode(item_body(OUTCOME)) == item_view(OUTCOME)


def test_the_description_has_the_same_fields() -> None:
    record = AttemptRecord(0, 0, 1, "overloaded", "HTTP 503", 1.5, 503)
    views = (job_view(JOB), item_view(OUTCOME), attempt_view(record))
    for model, view in zip((JobObject, ItemObject, AttemptObject), views, strict=True):
        assert model.model_fields.keys() == view.keys()
        model.model_validate(view)


def test_what_is_nobodys_business_is_not_told() -> None:
    told = str(job_view(JOB))
    assert not [word for word in ("out.jsonl", "gpu-1", "idempotency") if word in told]
