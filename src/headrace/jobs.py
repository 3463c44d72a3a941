"""The words of Headrace for durable work: jobs, their items and their counts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from headrace.model import Outcome, Priority


class JobState(StrEnum):
    """Where a job is; see the drawing in docs/design.md."""

    VALIDATING = "validating"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


JOB_ENDS = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)


class Counts(msgspec.Struct, frozen=True, gc=False):
    """How many items of a job are in each state."""

    total: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    skipped: int = 0

    @property
    def ended(self) -> int:
        return (
            self.succeeded + self.failed + self.cancelled + self.expired + self.skipped
        )


class FailurePolicy(msgspec.Struct, frozen=True, gc=False):
    """When failures end the job: `keep` going, at the first (`all`), or at a share."""

    threshold: float | None = None
    """None keeps going; 0.0 ends at the first failure; 0 < x < 1 at that share failed."""

    @classmethod
    def parse(cls, word: str) -> FailurePolicy:
        """Read `keep`, `all` or a share such as `0.5`.

        Raises:
            ValueError: anything else.
        """
        if word == "keep":
            return cls(None)
        if word == "all":
            return cls(0.0)
        try:
            share = float(word)
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            raise ValueError(
                f"failure policy {word!r} is not keep, all, or a share between 0 and 1"
            )
        return cls(share)

    def ends_job(self, counts: Counts) -> bool:
        """Return whether so many failures end the job."""
        if self.threshold is None or not counts.failed:
            return False
        return counts.failed > self.threshold * counts.total


class NewJob(msgspec.Struct, frozen=True):
    """A job as it is submitted."""

    route: str
    name: str | None = None
    """Unique among the jobs that bear one; a run is named by its output's path."""
    priority: Priority = Priority.NORMAL
    tenant: str = ""
    idempotency_key: str | None = None
    """Unique among the jobs that bear one: submitting again returns the first job."""
    deadline_s: float | None = None
    """Seconds from now after which what has not run expires."""
    on_failure: FailurePolicy = FailurePolicy()
    metadata: Mapping[str, str] = {}
    id: str | None = None
    """If it was given out before; None makes one."""


class Job(msgspec.Struct, frozen=True):
    """A durable collection of items under one name, with one progress."""

    id: str
    number: int
    """The store's own key; not for people."""
    route: str
    state: JobState
    counts: Counts
    version: int
    """Grows by one with each outcome and each change of state."""
    created_at: float
    name: str | None = None
    priority: Priority = Priority.NORMAL
    tenant: str = ""
    idempotency_key: str | None = None
    on_failure: FailurePolicy = FailurePolicy()
    metadata: Mapping[str, str] = {}
    deadline_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    ending: JobState = JobState.COMPLETED
    """The end that `cancelling` and `finalizing` lead to."""
    pause_reason: str = ""
    error: str = ""
    """Why the job itself failed, for people."""
    rendered: Mapping[str, int] = {}
    """What is certain of the output files: bytes, checksum and outcome number."""
    input_tokens: int = 0
    """Of all outcomes recorded, as the providers counted; a retry keeps what was spent
    before it, for it was paid."""
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    """US dollars, likewise; outcomes without a known price add nothing."""


class NewItem(msgspec.Struct, frozen=True, gc=False):
    """An item as it is submitted: the payload is bytes and stays as it is."""

    custom_id: str
    payload: bytes
    tokens: int = 0
    """Estimated cost in tokens, for fairness between jobs."""


class Leased(msgspec.Struct, frozen=True, gc=False):
    """An item that this process may now run, and its payload."""

    item: int
    """The store's key of the item; with the owner's epoch it fences each write."""
    job: int
    """`Job.number`."""
    seq: int
    """Position in the job, from 0."""
    custom_id: str
    generation: int
    attempts: int
    """Attempts made before this lease, in this generation."""
    payload: bytes
    queued_s: float = 0.0
    """Seconds since it was submitted or last queued."""


class Finished(msgspec.Struct, frozen=True):
    """The outcome of a leased item on its way into the store."""

    lease: Leased
    outcome: Outcome
    body: bytes | None = None
    """The answer as bytes, written once and given back as it came."""


class AttemptRecord(msgspec.Struct, frozen=True):
    """One failed try, or an outcome that a retry made the past."""

    seq: int
    generation: int
    attempt: int
    code: str
    message: str
    ended_at: float
    status: int | None = None
    endpoint: str = ""
    in_flight_s: float = 0.0


KEY = "key"
"""In the metadata of a job: the id of the service's key that it was submitted with."""


class Flow(msgspec.Struct, frozen=True):
    """A job that has queued items which may run now."""

    job: int
    """`Job.number`."""
    job_id: str
    route: str
    priority: Priority
    tenant: str
    max_deadline_s: float | None = None
    """Seconds until the job's deadline; None = none."""
    left: int = 0
    """Items that have not ended, whoever runs them."""
    key: str = ""
    """Id of the service's key that it was submitted with; "" = none."""


class Recorded(msgspec.Struct, frozen=True):
    """What recording a group of outcomes came to."""

    numbers: Mapping[int, int]
    """Item key -> outcome number, for each outcome that was written."""
    jobs: Mapping[int, Job]
    """Each job touched, by its number, as it is after the group."""


class Trouble(msgspec.Struct, frozen=True):
    """Failed tries of a job that failed at the same endpoint with the same code."""

    endpoint: str
    code: str
    count: int
    example: str
    """The message of one of them."""


class Spent(msgspec.Struct, frozen=True):
    """What the jobs of a tenant have spent."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
