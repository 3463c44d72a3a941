"""The course of one `headrace run`, from its lock to its summary."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

from headrace.cli import words
from headrace.cli.exits import Exit
from headrace.cli.intake import Intake, Taken, job_name
from headrace.cli.live import LiveRun, LiveTools
from headrace.cli.runplan import RunPlan
from headrace.cli.showing import JsonLines, PlainLines, Shown
from headrace.cli.stopping import Stopped, Stopping
from headrace.cli.summary import Summary, summary_event, summary_lines
from headrace.clock import Clock
from headrace.engine.shutdown import Shutdown
from headrace.errors import ConfigError
from headrace.jobs import JOB_ENDS, Job, JobState
from headrace.jsonl.badline import BadLine
from headrace.jsonl.reading import Input, opened
from headrace.jsonl.rendering import (
    Rendering,
    rendering_to_files,
    rendering_to_stream,
)
from headrace.jsonl.validation import Validation
from headrace.policies.budget import BUDGET
from headrace.ports import Store
from headrace.stores.opening import open_store

_STDOUT_FD = 1


class Running:
    """Carries out one plan.

    Args:
        plan: what to do.
        clock: time.
        again: makes the plan anew from what the settings say now.
    """

    def __init__(
        self, plan: RunPlan, clock: Clock, again: Callable[[], RunPlan]
    ) -> None:
        self._plan = plan
        self._again = again
        self._clock = clock
        self._shutdown = Shutdown()
        self._stopping = Stopping(self._shutdown, self._told_to_stop)
        self._shown = self._choose_shown()
        self._live: LiveRun | None = None
        self._validation: Validation | None = None

    async def run(self) -> Exit:
        """Run to the end, or until asked to stop.

        Raises:
            HeadraceError: see `exits` for what each leads to.
        """
        try:
            with self._stopping.listening(), self._reloading():
                return await self._run()
        except Stopped:
            self._shown.say("stopped before anything was sent")
            return Exit.INTERRUPTED
        finally:
            self._shown.close()

    def say(self, text: str) -> None:
        """Tell the user something, above what is shown live."""
        self._shown.close()
        self._shown.say(text)

    async def _run(self) -> Exit:
        plan = self._plan
        async with AsyncExitStack() as stack:
            if plan.name is not None:
                stack.enter_context(plan.lock(plan.name))
            with self._stopping.cancelling():
                source = await stack.enter_async_context(opened(plan.source))
            name = job_name(plan, source)
            if plan.name is None:
                stack.enter_context(plan.lock(name))
            store = await open_store(plan.settings.store, self._clock)
            stack.push_async_callback(store.close)
            return await self._run_job(store, source, name)

    async def _run_job(self, store: Store, source: Input, name: str) -> Exit:
        intake = Intake(store, self._plan, source, self._watch)
        with self._stopping.cancelling():
            taken = await self._take(intake, name)
        if taken.job.state is JobState.PAUSED:
            if not taken.job.pause_reason.startswith(BUDGET):
                return self._tell_paused(taken.job)
            # Its budget may be higher now; if it is not, the first call pauses it again.
            resumed = await store.resume(taken.job.number)
            taken = Taken(resumed, taken.is_new, taken.has_bad_lines)
        rendering = self._rendering(taken.job, store)
        try:
            with self._stopping.cancelling():
                bad_lines = await self._start(store, intake, taken, rendering)
            return await self._finish(store, taken.job, rendering, bad_lines)
        finally:
            rendering.close()

    @contextmanager
    def _reloading(self) -> Iterator[None]:
        """Heed SIGHUP if a file names endpoints; else it ends the run as ever."""
        if not self._plan.settings.endpoint:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    def _reload(self) -> None:
        if self._live is None:
            return
        try:
            told = self._live.reload(self._again())
        except ConfigError as error:
            self._shown.say(f"not reloaded: {error}")
        else:
            self._shown.say(f"reloaded: {'; '.join(told) or 'nothing has changed'}")

    # ---- before the first call

    async def _take(self, intake: Intake, name: str) -> Taken:
        showing = asyncio.create_task(self._show_intake())
        try:
            return await intake.take(name)
        finally:
            showing.cancel()
            await asyncio.wait([showing])

    def _watch(self, validation: Validation) -> None:
        self._validation = validation

    async def _show_intake(self) -> None:
        started_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._shown.interval_s)
            if self._validation is not None:
                elapsed_s = self._clock.monotonic() - started_at
                self._shown.taking_in(self._validation.lines, elapsed_s)

    def _rendering(self, job: Job, store: Store) -> Rendering:
        out = self._plan.out
        if out is None:
            return rendering_to_stream(job, store, _STDOUT_FD)
        return rendering_to_files(job, store, out)

    async def _start(
        self, store: Store, intake: Intake, taken: Taken, rendering: Rendering
    ) -> int:
        """Bring the output into step with the store; return how many lines are bad.

        We hold the lock of this run, so whoever else holds its items is dead.
        """
        job = taken.job
        if not taken.is_new:
            await store.reclaim(job.number)
        if rendering.is_intact():
            await rendering.resume()
            return intake.left_out(_ignore) if taken.has_bad_lines else 0
        rendering.begin()
        bad_lines = intake.left_out(rendering.leave_out) if taken.has_bad_lines else 0
        await rendering.complete()
        await store.mark_rendered(job.number, rendering.mark)
        return bad_lines

    # ---- the calls, and what follows

    async def _finish(
        self, store: Store, job: Job, rendering: Rendering, bad_lines: int
    ) -> Exit:
        tools = LiveTools(store, self._clock, self._shutdown, self._shown)
        self._live = LiveRun(self._plan, job, rendering, tools)
        self._warn()
        if job.state not in JOB_ENDS | {JobState.FINALIZING}:
            await self._live.run()
        await rendering.finish()
        await store.mark_rendered(job.number, rendering.mark)
        job = await self._concluded(store, job)
        summary = self._summary(job, rendering, bad_lines)
        self._tell(summary)
        if not summary.is_over:
            return Exit.INTERRUPTED
        if summary.lost or bad_lines:
            return Exit.SOME_FAILED
        if self._plan.is_one_off:
            await store.remove(job.number)
        return Exit.SUCCEEDED

    async def _concluded(self, store: Store, job: Job) -> Job:
        found = await store.job(job.number)
        if found is None:
            raise ConfigError(f"job {job.id} was removed while it ran")
        if found.state is JobState.FINALIZING:
            return await store.conclude(found.number)
        return found

    def _summary(self, job: Job, rendering: Rendering, bad_lines: int) -> Summary:
        assert self._live is not None
        has_errors = self._plan.errors is not None and rendering.mark["err_bytes"] > 0
        return Summary(
            job=job,
            out=self._plan.out,
            errors=self._plan.errors if has_errors else None,
            store=self._plan.settings.store,
            bad_lines=bad_lines,
            tally=self._live.tally,
            binding=self._live.binding,
            elapsed_s=self._live.elapsed_s,
            cache=self._live.cache,
            budget_usd=self._plan.settings.budget_usd,
            has_prices=self._plan.settings.has_prices,
        )

    # ---- what the user is told

    def _choose_shown(self) -> Shown:
        if self._plan.settings.json:
            stream = sys.stdout if self._plan.out is not None else sys.stderr
            return JsonLines(stream, sys.stderr, self._reader_left)
        if sys.stderr.isatty():
            from headrace.cli.terminal import TerminalView  # rich takes 50 ms to import

            return TerminalView(sys.stderr, self._plan.title)
        return PlainLines(sys.stderr)

    def _reader_left(self) -> None:
        self._shutdown.draining.set()

    def _warn(self) -> None:
        """Tell what was asked for and cannot be done."""
        settings = self._plan.settings
        if settings.hedge and len(settings.base_url) + len(settings.endpoint) < 2:
            self._shown.say(
                "--hedge: there is one address, and a second call goes to another one; "
                "so none is made"
            )

    def _told_to_stop(self, request: int) -> None:
        in_flight = self._live.in_flight if self._live is not None else 0
        if request == 1 and in_flight:
            self._shown.say(
                f"stopping: waiting for {words.plural(in_flight, 'call')} in flight; "
                "press Ctrl-C again to cancel them"
            )
        elif request == 2 and in_flight:
            self._shown.say(f"cancelling {words.plural(in_flight, 'call')} in flight")

    def _tell_paused(self, job: Job) -> Exit:
        reason = f" ({job.pause_reason})" if job.pause_reason else ""
        self.say(
            f"job {job.id} is paused{reason}; `headrace jobs resume {job.id}` lets it "
            "go on, then run the same command again"
        )
        return Exit.INTERRUPTED

    def _tell(self, summary: Summary) -> None:
        self._shown.close()
        if isinstance(self._shown, JsonLines):
            self._shown.event("summary", summary_event(summary))
            return
        with suppress(OSError):
            sys.stderr.write("\n".join(["", *summary_lines(summary), ""]))
            sys.stderr.flush()


def _ignore(_: BadLine) -> None:
    """It stands in the errors file already."""
