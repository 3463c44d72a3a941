"""Jobs, batches and items as listeners see them, each with its place in the order."""

from __future__ import annotations

import msgspec

from headrace.jobs import JOB_ENDS, Job
from headrace.model import Outcome
from headrace.service.jobs.views import item_view, job_view
from headrace.service.openai.batch import Batch
from headrace.service.openai.batchviews import batch_view

_encode = msgspec.json.Encoder().encode


class View(msgspec.Struct, frozen=True):
    """A job or a batch as it stood at one moment.

    Args:
        kind: `job` or `batch`.
        id: of it.
        version: grows with each change.
        body: its JSON, in one line.
        has_ended: will it never change again, unless it is retried?
        tenant: whose it is.
        job_id: the job whose changes move it; "" while there is none.
    """

    kind: str
    id: str
    version: int
    body: bytes
    has_ended: bool
    tenant: str
    job_id: str

    @property
    def event_id(self) -> str:
        """Its place in the order, the same from every process."""
        return f"{self.id}:{self.version}"


def view_of_job(job: Job) -> View:
    """Return a job as it stands."""
    return View(
        "job",
        job.id,
        job.version,
        _encode(job_view(job)),
        job.state in JOB_ENDS,
        job.tenant,
        job.id,
    )


def view_of_batch(batch: Batch, version: int, job: Job | None) -> View:
    """Return a batch as it stands.

    Args:
        batch: with the counts of its job.
        version: of its document.
        job: its job; None while it has none. Both versions only grow, so their sum does.
    """
    return View(
        "batch",
        batch.id,
        version + (0 if job is None else job.version),
        _encode(batch_view(batch)),
        batch.has_ended,
        batch.tenant,
        "" if job is None else job.id,
    )


def item_body(outcome: Outcome) -> bytes:
    """Return the JSON of how an item ended; what it was answered is read elsewhere."""
    return _encode(item_view(outcome))
