"""The output files of a job: a rendering of what the store knows, and never more.

```
 commit k ──► append its lines to OUT and OUT.errors ──► mark ──► stored with commit k+1
 start    ──► OUT begins with what the mark says? ──► cut back to it, go on after it
                                                 └──► else rebuild beside, then replace
```
So a line may be missing from OUT at a kill, but none that stands there for certain is
ever of an outcome that the store does not have.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.errors import OutputError
from headrace.jobs import Job
from headrace.jsonl.badline import BadLine
from headrace.jsonl.output import line_of, line_of_bad
from headrace.jsonl.sinks import FileSink, NoSink, Sink, StreamSink
from headrace.model import Outcome
from headrace.ports import Jobs

_FIRST_PAGE = 16
_MAX_PAGE = 500
_PAGE_BYTES = 2**23
_SUFFIX = ".jsonl"


def output_path(name: str) -> Path:
    """Return the absolute path of an output, links followed; a run bears this name.

    Raises:
        OutputError: something other than a file stands there.
    """
    path = Path(os.path.realpath(name))
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is no file; `-o -` is standard output")
    return path


def errors_path(out: Path) -> Path:
    """Return where failures go: `OUT.errors.jsonl` for `OUT.jsonl` and for `OUT`."""
    return out.with_name(f"{out.name.removesuffix(_SUFFIX)}.errors{_SUFFIX}")


class Rendering:
    """Keeps the output files of one job in step with its outcomes.

    Either `resume` it, if it `is_intact`; or `begin`, tell of the lines that were left
    out, and `complete` it. Then `add` the outcomes of each commit, `finish` it, and
    `close` it in any case. All of them raise `OutputError` if a file cannot be written.

    Args:
        job: whose outcomes these are.
        store: what is true.
        out: takes the lines of items that succeeded.
        errors: takes the others.
    """

    def __init__(self, job: Job, store: Jobs, out: Sink, errors: Sink) -> None:
        self._job = job
        self._store = store
        self._out = out
        self._errors = errors
        self._number = 0
        self._turn = asyncio.Lock()

    @property
    def mark(self) -> dict[str, int]:
        """What is certain of the files; store it with the next commit."""
        return {
            "out_bytes": self._out.size,
            "out_crc": self._out.crc,
            "err_bytes": self._errors.size,
            "err_crc": self._errors.crc,
            "number": self._number,
        }

    def is_intact(self) -> bool:
        """Say whether the files begin with all that the job's mark says of them."""
        mark = self._job.rendered
        return (
            mark.keys() >= self.mark.keys()
            and self._out.is_intact(mark["out_bytes"], mark["out_crc"])
            and self._errors.is_intact(mark["err_bytes"], mark["err_crc"])
        )

    async def resume(self) -> None:
        """Cut the files back to the job's mark, and add what the store has beyond it."""
        mark: Mapping[str, int] = self._job.rendered
        self._out.resume(mark["out_bytes"], mark["out_crc"])
        self._errors.resume(mark["err_bytes"], mark["err_crc"])
        self._number = mark["number"]
        await self.catch_up()

    def begin(self) -> None:
        """Start to write the files anew; the old ones stand until `complete`."""
        self._number = 0
        self._out.begin()
        self._errors.begin()

    def leave_out(self, bad: BadLine) -> None:
        """Write that a line of the input was left out; only before `complete`."""
        self._errors.append(line_of_bad(self._job.id, bad))

    async def complete(self) -> None:
        """Add all that the store has, and put the new files in the place of the old."""
        await self.catch_up()
        self._out.settle()
        self._errors.settle()

    async def add(self, ended: Sequence[tuple[int, Outcome]]) -> None:
        """Append the outcomes of a commit, with their numbers, in any order.

        What others have recorded meanwhile is fetched from the store.
        """
        async with self._turn:
            new = sorted(
                (row for row in ended if row[0] > self._number), key=lambda row: row[0]
            )
            if not new:
                return
            if new[-1][0] - self._number == len(new):
                self._append(new)
            else:
                await self._fetch()

    async def catch_up(self) -> None:
        """Append all outcomes of the store that are not here yet."""
        async with self._turn:
            await self._fetch()

    async def finish(self) -> None:
        """Catch up, and see that all of it is on the disk."""
        await self.catch_up()
        self._out.finish()
        self._errors.finish()

    def close(self) -> None:
        """Close the files; what was begun and not completed is forgotten. Idempotent."""
        self._out.close()
        self._errors.close()

    async def _fetch(self) -> None:
        job, limit = self._job.number, _FIRST_PAGE
        while page := await self._store.outcomes(job, self._number, limit):
            before = self._out.size + self._errors.size
            self._append([(outcome.number, outcome) for outcome in page])
            each = (self._out.size + self._errors.size - before) // len(page) + 1
            limit = max(1, min(_MAX_PAGE, _PAGE_BYTES // each))

    def _append(self, rows: Sequence[tuple[int, Outcome]]) -> None:
        job_id = self._job.id
        good = [line_of(job_id, outcome) for _, outcome in rows if outcome.ok]
        bad = [line_of(job_id, outcome) for _, outcome in rows if not outcome.ok]
        self._out.append(b"".join(good))
        self._errors.append(b"".join(bad))
        self._number = rows[-1][0]


def rendering_to_files(job: Job, store: Jobs, out: Path) -> Rendering:
    """Return the rendering to a file, which exists in the end even if it is empty.

    The file of failures beside it exists only if it has a line.
    """
    errors = FileSink(errors_path(out), keep_empty=False)
    return Rendering(job, store, FileSink(out, keep_empty=True), errors)


def rendering_to_stream(job: Job, store: Jobs, fd: int) -> Rendering:
    """Return the rendering to an open descriptor; failures are not written."""
    return Rendering(job, store, StreamSink(fd), NoSink())
