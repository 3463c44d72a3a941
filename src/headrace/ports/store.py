"""What keeps jobs, and who reads along: the contracts of every store.

Every method may be cancelled; a cancelled write has happened wholly or not at all.
Every method of a store raises `StoreError` if the database fails; nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from headrace.jobs import (
    AttemptRecord,
    Finished,
    Flow,
    Job,
    JobState,
    Leased,
    NewItem,
    NewJob,
    Recorded,
    Spent,
    Trouble,
)
from headrace.model import Outcome
from headrace.ports.cache import Cache
from headrace.ports.documents import Documents
from headrace.ports.pieces import FilePieces


class Intake(Protocol):
    """How jobs come into a store."""

    async def submit(self, new: NewJob, items: Sequence[NewItem]) -> tuple[Job, bool]:
        """Store a job with all its items and let it run, in one transaction.

        The same as `create`, `add` and `seal`, for jobs of a few thousand items.

        Returns:
            The job, and whether it is new; if it is not, the items are left alone.

        Raises:
            WrongState: another job bears the same name.
            DuplicateItem: a `custom_id` stands twice.
        """
        ...

    async def create(self, new: NewJob) -> tuple[Job, bool]:
        """Store an empty job in state `validating`.

        Idempotent by `idempotency_key`.

        Returns:
            The job, and whether it is new.

        Raises:
            WrongState: another job bears the same name.
        """
        ...

    async def add(self, job: int, items: Sequence[NewItem]) -> None:
        """Append items to a job in state `validating`, all or none, in order.

        Raises:
            DuplicateItem: a `custom_id` stands twice; names the position in the job.
            WrongState: the job is no longer `validating`.
        """
        ...

    async def seal(self, job: int) -> Job:
        """Let a validating job run: `queued`, or `finalizing` if it has no items."""
        ...

    async def remove(self, job: int) -> None:
        """Forget a job and all that belongs to it, in chunks; idempotent.

        Raises:
            WrongState: one of its items is running under a live owner.
        """
        ...


class Jobs(Protocol):
    """What can be seen of jobs."""

    async def job(self, ref: str | int) -> Job | None:
        """Return the job with that id, name or number."""
        ...

    async def jobs(self, limit: int = 50, before: int | None = None) -> list[Job]:
        """Return jobs, newest first; `before` is the `Job.number` to go on after."""
        ...

    async def finalizing(self, routes: Sequence[str]) -> list[Job]:
        """Return the jobs of these routes that wait to be concluded, oldest first."""
        ...

    async def outcomes(
        self, job: int, after: int = 0, limit: int = 500
    ) -> list[Outcome]:
        """Return outcomes with numbers above `after`, in order of their numbers.

        Nothing is skipped or seen twice, whoever records meanwhile. The value of a
        succeeded outcome is its body as bytes.
        """
        ...

    async def attempts(self, job: int, seq: int) -> list[AttemptRecord]:
        """Return the failed tries and former outcomes of one item, oldest first."""
        ...


class Sums(Protocol):
    """What adds up over the items of a job, or over jobs."""

    async def troubles(self, job: int) -> list[Trouble]:
        """Return the failed tries of a job by endpoint and code.

        Of all generations; most frequent first, at most 100 kinds, maybe none.
        """
        ...

    async def spent(self, tenant: str) -> Spent:
        """Return what the jobs of a tenant have spent; removed jobs count no more."""
        ...

    async def queued(self, routes: Sequence[str] | None = None) -> int:
        """Return how many items of these routes are queued, of all routes by default.

        Items of jobs that are validating, paused or being cancelled count, too.
        """
        ...


class Control(Protocol):
    """How people and deadlines change the course of a job."""

    async def cancel(self, job: int) -> Job:
        """Begin to cancel; `sweep` and the owners of running items complete it.

        Idempotent. Raises WrongState if the job has ended.
        """
        ...

    async def pause(self, job: int, reason: str) -> Job:
        """Start no more of its items. Raises WrongState unless queued or in progress."""
        ...

    async def resume(self, job: int) -> Job:
        """Let a paused job go on. Raises WrongState if it is not paused."""
        ...

    async def retry(self, job: int) -> int:
        """Queue failed, cancelled, expired and skipped items again, generation + 1.

        The former outcomes stay among the attempts; the job is `queued` again.
        Returns how many. Raises WrongState unless the job has ended or is finalizing.
        """
        ...

    async def sweep(self) -> int:
        """Move on what needs no worker, one bounded step; idempotent.

        Deadlines that have passed turn jobs to `cancelling`; queued items of such jobs
        become cancelled, expired or skipped (each with its outcome); a job whose items
        have all ended becomes `finalizing`. Returns how many rows changed; 0 = done.
        """
        ...

    async def conclude(self, job: int) -> Job:
        """Turn a `finalizing` job to its end state; idempotent."""
        ...

    async def set_priority(self, job: int, priority: int) -> None:
        """Change how urgent a job is."""
        ...


class Leases(Protocol):
    """Who may run what."""

    async def register(self, host: str, pid: int, lease_s: float) -> int:
        """Become an owner; return its epoch, never used before."""
        ...

    async def flows(self, routes: Sequence[str]) -> list[Flow]:
        """Return the jobs of these routes that have queued items and may run.

        Most urgent first, then oldest.
        """
        ...

    async def lease(self, epoch: int, wants: Sequence[tuple[int, int]]) -> list[Leased]:
        """Take up to `n` queued items of each job named, lowest `seq` first.

        At most one owner holds an item. A job leased from becomes `in_progress`.

        Raises:
            LeaseLost: this owner's lease has run out.
        """
        ...

    async def release(self, epoch: int, held: Sequence[Leased]) -> None:
        """Queue items again that this owner still holds; their attempts are kept.

        `Leased.attempts` is stored as given.
        """
        ...

    async def rescue(self, max_rescues: int) -> int:
        """Queue the items of expired owners again; return how many.

        An item rescued `max_rescues` times is failed as poisoned instead. Expired
        owners that hold nothing more are forgotten.
        """
        ...

    async def reclaim(self, job: int) -> int:
        """Queue the running items of one job again, whoever holds them.

        Only for a caller who knows that their owner is dead; if it is not, fencing
        makes its writes change nothing. Counts as a rescue. Returns how many.
        """
        ...

    async def retire(self, epoch: int) -> None:
        """Stop being an owner, and queue again whatever it still holds; idempotent."""
        ...


class Records(Protocol):
    """How outcomes are kept."""

    async def record(
        self,
        epoch: int,
        finished: Sequence[Finished],
        tries: Sequence[tuple[int, AttemptRecord]] = (),
        rendered: Mapping[int, Mapping[str, int]] | None = None,
    ) -> Recorded:
        """Write a group of outcomes in one transaction.

        Each is written only if this owner still holds the item in that generation; else
        it changes nothing and is absent from `Recorded.numbers`. The numbers of one job
        follow the order given. A job whose failure policy is met becomes `cancelling`,
        one whose items have all ended `finalizing`. Tokens and cost of each written
        outcome are added to its job; a later retry of the item keeps them there.

        Args:
            epoch: this owner.
            finished: any number, of any jobs.
            tries: item key and failed try.
            rendered: by job number, what is certain of its output files.
        """
        ...

    async def mark_rendered(self, job: int, rendered: Mapping[str, int]) -> None:
        """Remember what is certain of a job's output files."""
        ...


class Notes(Protocol):
    """What processes have learnt, and want to find again."""

    async def remember(self, notes: Mapping[str, bytes]) -> None:
        """Write notes over older ones of the same names, all or none.

        A note that nobody writes again for 30 days is forgotten.
        """
        ...

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Return the notes whose names begin with `prefix`, to the letter; may be empty.

        An empty prefix gives all.
        """
        ...


class Pulse(Protocol):
    """One owner's heartbeat; used from one thread that is not the event loop's."""

    def renew(self) -> bool:
        """Extend the lease by `lease_s` from now; False if it is lost already."""
        ...

    def states(self) -> Mapping[int, JobState]:
        """Return the state of each job in which this owner holds items."""
        ...

    def close(self) -> None:
        """Give the connection back; idempotent."""
        ...


class Store(Intake, Jobs, Sums, Control, Leases, Records, Notes, Protocol):
    """Everything that must survive; the sum of the contracts above."""

    def pulse(self, epoch: int, lease_s: float) -> Pulse:
        """Return the heartbeat of an owner, with a connection of its own."""
        ...

    def cache(self) -> Cache | None:
        """Return the answers kept beside the jobs; None if there is no place for them.

        It ends with the store, but must be closed before.
        """
        ...

    def documents(self) -> Documents:
        """Return the small records kept beside the jobs."""
        ...

    def file_pieces(self) -> FilePieces | None:
        """Return the bytes of files kept beside the jobs; None if there is no place."""
        ...

    async def close(self) -> None:
        """Give back connections and threads; idempotent."""
        ...


class Learner(Protocol):
    """Whoever learns something that the next process should know.

    Names tell whose note it is, to the whole store: `limit/<address>`,
    `rate/<address>/<model>/<dimension>`, `flow/<priority>/<tenant>`.
    """

    def notes(self) -> Mapping[str, bytes]:
        """Return what has been learnt, by name; may be empty. Asked every 10 s."""
        ...

    def recall(self, notes: Mapping[str, bytes]) -> None:
        """Take what former processes noted, once, before the first call.

        Notes of others are among them, and are left alone. Taking a note twice does
        no harm: if this raises, each is given again by itself.

        Raises:
            ValueError, TypeError, LookupError, MsgspecError: a note cannot be read; the
                others count.
        """
        ...


class Sink(Protocol):
    """Where committed outcomes are shown: the output files of a run, listeners."""

    def committed(self, job: Job, outcomes: Sequence[Outcome], number: int) -> None:
        """Show outcomes that are safe in the store; `number` is the last one's."""
        ...

    def mark(self) -> Mapping[int, Mapping[str, int]]:
        """Return, by job number, what is certain of the output; may be empty."""
        ...
