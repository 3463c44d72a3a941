from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace as changed

from batch_building import CHAT, INPUT, Bench, a_line, kept, lines
from headrace.errors import ErrorCode, NotFound, StoreError, WrongState
from headrace.jobs import Finished, JobState, Leased
from headrace.model import Failure, ItemState, Outcome, Usage
from headrace.service.openai.batch import Batch, BatchState, RequestCounts
from headrace.service.openai.batchinput import InputLimits
from headrace.service.openai.batchkeeper import HOLD_S, NewBatch
from headrace.simulation.virtual import run_virtual
from headrace.testing.store_world import failed, succeeded

S = BatchState
Scene = Callable[[Bench], Awaitable[None]]


def played(scene: Scene, bench: Callable[[], Bench] = Bench) -> Bench:
    """Play a scene while its batches are kept."""

    async def main() -> Bench:
        async with kept(bench()) as it:
            await scene(it)
        return it

    return run_virtual(main())


def timed_out(lease: Leased) -> Finished:
    """Return the failure of a call that was never answered."""
    failure = Failure(ErrorCode.TIMED_OUT, "no answer within 600 s")
    outcome = Outcome(lease.custom_id, lease.seq, ItemState.FAILED, failure=failure)
    return Finished(lease, outcome)


def mixed(lease: Leased) -> Finished:
    """Answer most lines, and let each third fail."""
    ends = (succeeded, failed, timed_out)
    return ends[lease.seq % 3](lease)


def test_a_batch_whose_lines_all_succeed_has_no_error_file() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(5))
        assert (batch.state, batch.counts) == (S.VALIDATING, RequestCounts())
        await it.answer(batch)
        done = await it.ended(batch)
        assert (done.state, done.counts) == (S.COMPLETED, RequestCounts(5, 5, 0))
        assert (done.model, done.error_file_id) == ("m", None)
        out = it.files.lines(done.output_file_id)
        assert sorted(line["custom_id"] for line in out) == [f"r{k}" for k in range(5)]
        assert it.files.facts[done.output_file_id or ""].purpose == "batch_output"
        assert done.in_progress_at <= done.finalizing_at <= done.completed_at  # type: ignore[operator]

    played(scene)


def test_a_batch_whose_lines_all_fail_is_completed_without_an_output_file() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(3))
        await it.answer(batch, failed)
        done = await it.ended(batch)
        assert (done.state, done.counts) == (S.COMPLETED, RequestCounts(3, 0, 3))
        assert done.output_file_id is None
        first = it.files.lines(done.error_file_id)[0]
        assert (first["response"]["status_code"], first["error"]) == (400, None)

    played(scene)


def test_what_never_had_an_answer_stands_in_the_error_file_with_its_code() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(9))
        await it.answer(batch, mixed)
        done = await it.ended(batch)
        assert done.counts == RequestCounts(9, 3, 6)
        errors = it.files.lines(done.error_file_id)
        codes = [e["error"]["code"] for e in errors if e["response"] is None]
        assert codes == ["request_timeout"] * 3
        assert len(it.files.lines(done.output_file_id)) == 3

    played(scene)


def test_no_line_may_run_before_the_whole_input_is_checked() -> None:
    async def scene(it: Bench) -> None:
        states = []

        def look() -> None:
            jobs = it.store._jobs.values()
            states.extend(JobState(job.row.state) for job in jobs)

        it.files.before_piece = look
        batch = await it.begin(lines(500))
        await it.until(batch, S.IN_PROGRESS)
        assert set(states) == {JobState.VALIDATING}

    played(scene, lambda: Bench(piece=1_000))


def test_a_refused_input_leaves_no_job_and_names_its_lines() -> None:
    async def scene(it: Bench) -> None:
        data = a_line("a") + b"{\n" + a_line("a") + a_line("b", "/v1/embeddings")
        done = await it.ended(await it.begin(data))
        assert done.state is S.FAILED
        assert [(p.code, p.line) for p in done.errors] == [
            ("invalid_json_line", 2),
            ("duplicate_custom_id", 3),
            ("url_mismatch", 4),
        ]
        assert await it.store.jobs() == []

    played(scene)


def test_names_that_stand_twice_far_apart_are_found() -> None:
    async def scene(it: Bench) -> None:
        done = await it.ended(await it.begin(lines(3_000) + a_line("r5")))
        assert [(p.code, p.line) for p in done.errors] == [
            ("duplicate_custom_id", 3_001)
        ]

    played(scene, lambda: Bench(piece=10_000))


def test_an_input_that_was_deleted_before_it_was_read_is_named() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(2))
        del it.files.facts[INPUT]
        done = await it.ended(batch)
        assert [p.code for p in done.errors] == ["file_not_found"]

    played(scene)


def test_an_input_in_another_encoding_is_refused() -> None:
    async def scene(it: Bench) -> None:
        done = await it.ended(await it.begin("{}\n".encode("utf-16")))
        assert [p.code for p in done.errors] == ["invalid_encoding"]

    played(scene)


def test_the_configured_number_of_lines_holds() -> None:
    async def scene(it: Bench) -> None:
        done = await it.ended(await it.begin(lines(6)))
        assert [p.code for p in done.errors] == ["too_many_tasks"]

    played(scene, lambda: Bench(InputLimits(max_lines=5)))


def test_counts_are_live() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(10))
        await it.answer(batch, n=4)
        await it.answer(batch, failed, n=2)
        assert (await it.see(batch)).counts == RequestCounts(10, 4, 2)

    played(scene)


def test_tenant_and_priority_are_those_of_the_job() -> None:
    async def scene(it: Bench) -> None:
        it.files.add(lines(1), tenant="acme")
        new = NewBatch(INPUT, CHAT, "24h", priority="urgent")
        batch = await it.batches.create(new, "acme")
        await it.until(batch, S.IN_PROGRESS)
        job = await it.job_of(batch)
        assert (job.tenant, job.priority.name) == ("acme", "URGENT")
        assert job.metadata["batch"] == batch.id

    played(scene)


def test_usage_is_the_sum_over_all_answers() -> None:
    def answered(lease: Leased) -> Finished:
        body = (
            b'{"usage":{"prompt_tokens_details":{"cached_tokens":2},'
            b'"completion_tokens_details":{"reasoning_tokens":3}}}'
        )
        done = succeeded(lease, body)
        return changed(done, outcome=changed(done.outcome, usage=Usage(10, 5)))

    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(4))
        await it.answer(batch, answered)
        usage = (await it.ended(batch)).usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (40, 20)
        assert (usage.cached_tokens, usage.reasoning_tokens) == (8, 12)

    played(scene)


# ---- its window


def test_an_expired_batch_keeps_its_answers_and_names_the_rest() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(10), window="1h")
        await it.answer(batch, n=3)
        done = await it.ended(batch)
        assert (done.state, done.counts) == (S.EXPIRED, RequestCounts(10, 3, 0))
        assert done.expired_at is not None
        assert 0 <= done.expired_at - batch.expires_at <= 3
        errors = it.files.lines(done.error_file_id)
        assert {e["error"]["code"] for e in errors} == {"batch_expired"}
        assert len(errors) == 7
        message = "This request could not be executed before the completion window"
        assert errors[0]["error"]["message"] == f"{message} expired."

    played(scene)


def test_calls_in_flight_when_the_window_ends_are_waited_for() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(3), window="1m")
        await it.until(batch, S.IN_PROGRESS)
        epoch, leases = await it.lease(batch, 1)
        await it.clock.sleep(120)
        assert (await it.see(batch)).state is S.IN_PROGRESS
        await it.store.record(epoch, [succeeded(leases[0])])
        done = await it.ended(batch)
        assert (done.state, done.counts) == (S.EXPIRED, RequestCounts(3, 1, 0))

    played(scene)


def test_a_window_that_ends_during_validation_ends_the_batch_without_files() -> None:
    async def main() -> None:
        it = Bench()
        batch = await it.begin(lines(3), window="1s")
        await it.clock.sleep(2)
        async with kept(it):
            done = await it.ended(batch)
        assert (done.state, done.output_file_id) == (S.EXPIRED, None)
        assert await it.store.jobs() == []

    run_virtual(main())


# ---- cancelling


def test_cancel_keeps_what_has_an_answer() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(10))
        await it.answer(batch, n=4)
        now = await it.batches.cancel(batch.id, None)
        assert now.state is S.CANCELLING
        again = await it.batches.cancel(batch.id, None)
        assert again.cancelling_at == now.cancelling_at
        done = await it.ended(batch)
        assert (done.state, done.counts) == (S.CANCELLED, RequestCounts(10, 4, 0))
        errors = it.files.lines(done.error_file_id)
        assert {e["error"]["code"] for e in errors} == {"batch_cancelled"}
        assert len(it.files.lines(done.output_file_id)) == 4

    played(scene)


def test_calls_in_flight_may_finish_after_a_cancel() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(3))
        await it.until(batch, S.IN_PROGRESS)
        epoch, leases = await it.lease(batch, 1)
        await it.batches.cancel(batch.id, None)
        await it.clock.sleep(60)
        assert (await it.see(batch)).state is S.CANCELLING
        await it.store.record(epoch, [succeeded(leases[0])])
        assert (await it.ended(batch)).counts == RequestCounts(3, 1, 0)

    played(scene)


def test_a_batch_can_be_cancelled_while_it_is_validated() -> None:
    async def scene(it: Bench) -> None:
        cancels: list[asyncio.Task[Batch]] = []

        def cancel_once() -> None:
            if not cancels:
                doing = it.batches.cancel(batch.id, None)
                cancels.append(asyncio.ensure_future(doing))

        it.files.before_piece = cancel_once
        batch = await it.begin(lines(1_000))
        done = await it.ended(batch)
        assert (done.state, done.in_progress_at) == (S.CANCELLED, None)
        assert await it.store.jobs() == []

    played(scene, lambda: Bench(piece=500))


@pytest.mark.parametrize("data", [lines(1), b""], ids=["completed", "failed"])
def test_what_has_ended_cannot_be_cancelled(data: bytes) -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(data)
        if data:
            await it.answer(batch)
        done = await it.ended(batch)
        with pytest.raises(WrongState, match=f"with status '{done.state}'"):
            await it.batches.cancel(batch.id, None)
        assert await it.see(batch) == done

    played(scene)


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_cancel_that_races_the_end_leaves_each_line_once(steps: int) -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(4))
        await it.answer(batch)
        for _ in range(steps):
            await asyncio.sleep(0)
            await it.clock.sleep(0.02)
        try:
            await it.batches.cancel(batch.id, None)
        except WrongState:
            assert (await it.see(batch)).state is S.COMPLETED
        done = await it.ended(batch)
        assert done.state in (S.CANCELLED, S.COMPLETED)
        assert done.counts == RequestCounts(4, 4, 0)
        assert len(it.files.lines(done.output_file_id)) == 4

    played(scene)


def test_a_job_that_was_cancelled_by_other_means_cancels_its_batch() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(4))
        await it.until(batch, S.IN_PROGRESS)
        await it.store.cancel((await it.job_of(batch)).number)
        assert (await it.ended(batch)).state is S.CANCELLED

    played(scene)


# ---- who asks


def test_a_tenant_sees_only_its_own() -> None:
    async def scene(it: Bench) -> None:
        it.files.add(lines(1), tenant="a")
        batch = await it.batches.create(NewBatch(INPUT, CHAT, "24h"), "a")
        for act in (it.batches.get, it.batches.cancel, it.batches.retry):
            with pytest.raises(NotFound):
                await act(batch.id, "b")
        assert await it.batches.list("b", None, 20) == ([], False)
        assert (await it.batches.list("a", None, 20))[0][0].id == batch.id
        with pytest.raises(NotFound):
            await it.batches.list("b", batch.id, 20)

    played(scene)


def test_lists_are_newest_first_and_paged() -> None:
    async def scene(it: Bench) -> None:
        ids = [(await it.begin(lines(1))).id for _ in range(5)]
        page, more = await it.batches.list(None, None, 2)
        assert ([b.id for b in page], more) == (ids[:2:-1], True)
        rest, more = await it.batches.list(None, page[-1].id, 3)
        assert ([b.id for b in rest], more) == (ids[2::-1], False)

    played(scene)


# ---- retry


def test_a_retry_is_a_batch_of_the_lines_without_an_answer() -> None:
    async def scene(it: Bench) -> None:
        rows = [a_line(f"r{k}") for k in range(9)]
        data = b"\xef\xbb\xbf" + b"\n".join(rows).rstrip()
        old = await it.begin(data, priority="low", metadata={"a": "b"})
        await it.answer(old, mixed)
        old = await it.ended(old)
        new = await it.batches.retry(old.id, None)
        assert (new.retry_of, new.priority, new.metadata) == (
            old.id,
            "low",
            {"a": "b"},
        )
        wanted = [rows[k] for k in range(9) if k % 3]
        assert it.files.bytes[new.input_file_id] == b"".join(wanted)
        await it.answer(new)
        assert (await it.ended(new)).counts == RequestCounts(6, 6, 0)
        assert await it.see(old) == old

    played(scene)


def test_a_batch_without_unanswered_lines_is_not_retried() -> None:
    async def scene(it: Bench) -> None:
        batch = await it.begin(lines(2))
        with pytest.raises(WrongState):
            await it.batches.retry(batch.id, None)
        await it.answer(batch)
        await it.ended(batch)
        with pytest.raises(WrongState):
            await it.batches.retry(batch.id, None)

    played(scene)


# ---- over restarts


def test_a_batch_cut_short_at_any_moment_ends_as_if_nothing_had_been() -> None:
    async def cut(after: float) -> tuple[BatchState, RequestCounts, list[str]]:
        it = Bench(piece=600)
        concluding = asyncio.create_task(it.conclude())
        working = asyncio.create_task(_work(it))
        batch: Batch | None = None
        for _ in range(40):
            async with it.batches.kept():
                batch = batch or await it.begin(lines(40))
                for _ in range(int(after)):
                    await asyncio.sleep(0)
                await it.clock.sleep(after % 1)
            it.batches = it.another()
        async with it.batches.kept():
            done = await it.ended(batch)
        working.cancel()
        concluding.cancel()
        names = [x["custom_id"] for x in it.files.lines(done.output_file_id)]
        assert done.output_file_id == it.files.puts[0]
        return done.state, done.counts, sorted(names)

    wanted = (S.COMPLETED, RequestCounts(40, 40, 0), sorted(f"r{k}" for k in range(40)))
    for after in (0.0, 3.0, 7.0, 20.0, 60.0, 61.01, 0.03, 0.07):
        assert run_virtual(cut(after)) == wanted


async def _work(it: Bench) -> None:
    """Answer whatever runs, a few at a time, for ever."""
    epoch = await it.store.register("h", 1, 1e9)
    while True:
        for flow in await it.store.flows(["openai"]):
            leases = await it.store.lease(epoch, [(flow.job, 7)])
            await it.store.record(epoch, [succeeded(lease) for lease in leases])
        await it.clock.sleep(0.05)


def test_what_a_killed_process_held_is_taken_when_its_hold_runs_out() -> None:
    async def main() -> None:
        it = Bench()
        concluding = asyncio.create_task(it.conclude())
        first = it.batches
        keeping = first.kept()
        await keeping.__aenter__()
        batch = await it.begin(lines(2))
        for task in asyncio.all_tasks() - {concluding, asyncio.current_task()}:
            task.cancel()  # as a kill would: nothing is let go
        it.batches = it.another()
        async with it.batches.kept():
            start = it.clock.monotonic()
            await it.answer(batch)
            assert HOLD_S - 1 < it.clock.monotonic() - start < HOLD_S + 2
            assert (await it.ended(batch)).state is S.COMPLETED
        concluding.cancel()

    run_virtual(main())


def test_two_keepers_do_not_disturb_each_other() -> None:
    async def main() -> None:
        it = Bench(piece=300)
        concluding = asyncio.create_task(it.conclude())
        async with it.batches.kept(), it.another().kept():
            batches = [await it.begin(lines(30)) for _ in range(5)]
            for batch in batches:
                await it.answer(batch)
            ends = [await it.ended(batch) for batch in batches]
        assert {end.counts for end in ends} == {RequestCounts(30, 30, 0)}
        assert {end.takes for end in ends} == {1}
        assert len(it.files.puts) == 5
        concluding.cancel()

    run_virtual(main())


def test_a_store_that_was_away_only_delays(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(it: Bench) -> None:
        faults = [StoreError("away"), StoreError("away")]

        def fail() -> None:
            if faults:
                raise faults.pop()

        it.files.before_put = fail
        batch = await it.begin(lines(2))
        await it.answer(batch)
        assert (await it.ended(batch)).state is S.COMPLETED

    played(scene)
    assert "goes on later" in caplog.text
