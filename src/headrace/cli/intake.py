"""How the lines of a file become a job, or meet the job that they are already.

```
 no job of that name ─────────────► validate all lines into the store ─► seal ─► run
 half taken in by a run that died ► remove ─► as above
 same input ──────────────────────► go on
 another input ───────────────────► refuse, unless --restart: remove ─► as above
```
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headrace.cli.runplan import RunPlan, digest_of, input_rules
from headrace.errors import ConfigError, InputError
from headrace.jobs import Job, JobState, NewJob
from headrace.jsonl.badline import BadLine
from headrace.jsonl.examination import examine
from headrace.jsonl.reading import Input
from headrace.jsonl.submission import submit
from headrace.jsonl.validation import BadLines, Validation
from headrace.ports import Store
from headrace.wire import HttpRequest

_IDENTITY = ("input_bytes", "input_digest", "limit", "model", "dialect")
_SKIPS = "skip_bad_lines"
ROUTE = "run:"


class Taken(msgspec.Struct, frozen=True):
    """The job of a run."""

    job: Job
    is_new: bool
    has_bad_lines: bool
    """May lines of its input have been left out?"""


def job_name(plan: RunPlan, source: Input) -> str:
    """Return the name of a run's job.

    Results on standard output without `--name` are named by the input and where it
    goes, so that the same command goes on after an interruption.
    """
    if plan.name is not None:
        return plan.name
    identity = _identity(plan, source)
    digest = digest_of(*identity.values(), *plan.settings.base_url)
    return f"stdout:{digest}"


class Intake:
    """Takes one input into a store.

    Args:
        store: where the job is or will be.
        plan: what the user asked for.
        source: the input.
        watch: told of the validation under way, to show it.
    """

    def __init__(
        self,
        store: Store,
        plan: RunPlan,
        source: Input,
        watch: Callable[[Validation], None],
    ) -> None:
        self._store = store
        self._plan = plan
        self._source = source
        self._watch = watch

    async def take(self, name: str) -> Taken:
        """Return the job to run, with all its items.

        Raises:
            ConfigError: another input bears this name.
            InputError: a line is bad; nothing of the input was kept.
        """
        job = await self._known(name)
        if job is not None and (self._plan.restart or job.state is JobState.VALIDATING):
            await self._forget(job)
            job = None
        if job is None:
            return await self._create(name)
        self._refuse_other_input(job)
        if job.priority is not self._plan.settings.priority:
            await self._store.set_priority(job.number, self._plan.settings.priority)
        return Taken(job, False, _SKIPS in job.metadata)

    def left_out(self, each: Callable[[BadLine], None]) -> int:
        """Read the input again and tell of each line that is not in the job.

        Returns:
            How many there are.
        """
        bad = BadLines(each)
        examine(self._source, input_rules(self._plan.settings), bad)
        return bad.count

    async def _known(self, name: str) -> Job | None:
        job = await self._store.job(name)
        return job if job is not None and job.name == name else None

    async def _forget(self, job: Job) -> None:
        """Remove a job whose run is dead, for we hold its lock."""
        await self._store.reclaim(job.number)
        await self._store.remove(job.number)

    async def _create(self, name: str) -> Taken:
        settings = self._plan.settings
        metadata = _identity(self._plan, self._source) | {"input": self._plan.source}
        if settings.skip_bad_lines:
            metadata[_SKIPS] = "true"
        new = NewJob(
            route=f"{ROUTE}{digest_of(name)}",
            name=name,
            priority=settings.priority,
            deadline_s=settings.deadline,
            on_failure=settings.on_failure,
            metadata=metadata,
        )
        job, _ = await self._store.create(new)
        bad = BadLines()
        try:
            total = await submit(self._store, job.number, self._watched(bad))
            if bad.count and not (settings.skip_bad_lines and total):
                raise InputError(refusal(bad, self._source.name))
        except InputError:
            await self._store.remove(job.number)
            raise
        return Taken(await self._store.seal(job.number), True, bad.count > 0)

    def _watched(self, bad: BadLines) -> Validation:
        validation = self._validation(bad)
        self._watch(validation)
        return validation

    def _validation(self, bad: BadLines) -> Validation:
        rules = input_rules(self._plan.settings)
        return Validation(self._source, rules, _rough_tokens, bad)

    def _refuse_other_input(self, job: Job) -> None:
        ours = _identity(self._plan, self._source)
        differing = [key for key in _IDENTITY if job.metadata.get(key) != ours[key]]
        if not differing:
            return
        key = next((k for k in differing if not k.startswith("input_")), "")
        if len(differing) > 1 or not key:
            what = "its input was another file, or has changed"
        else:
            before = job.metadata.get(key) or "none"
            what = f"--{key} was {before}, and is now {ours[key] or 'none'}"
        raise ConfigError(
            f"there is already a run named {job.name} (job {job.id}), and {what}. "
            "Choose: --restart forgets that run and its results, or give another -o "
            "(or --name) to keep both"
        )


def _rough_tokens(request: HttpRequest) -> int:
    """Weigh an item against those of other jobs; exactly when it is called only."""
    return len(request.body or b"") // 4


def refusal(bad: BadLines, name: str) -> str:
    """Return why an input is refused: its first bad lines, and what to do."""
    lines = "line is" if bad.count == 1 else "lines are"
    return (
        f"{name}: {bad.count:,} {lines} not right, so nothing was sent:\n{bad}\n"
        "correct them, or leave them out with --skip-bad-lines"
    )


def _identity(plan: RunPlan, source: Input) -> dict[str, str]:
    """Return what must be the same for a run to go on."""
    settings = plan.settings
    return {
        "input_bytes": str(source.size),
        "input_digest": source.digest,
        "limit": str(settings.limit or ""),
        "model": settings.model,
        "dialect": settings.dialect,
    }
