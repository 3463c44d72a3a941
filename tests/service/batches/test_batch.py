from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import WrongState
from headrace.jobs import Counts, Job, JobState
from headrace.service.openai import batch as steps
from headrace.service.openai.batch import (
    BATCH_ENDS,
    Batch,
    BatchState,
    Problem,
    RequestCounts,
    Results,
    counts_of,
    window_s,
)

S = BatchState
Step = Callable[[Batch, float], Batch]
NEW = Batch("batch_a", "", "file-a", "/v1/embeddings", "24h", 1_000, 87_400)
RESULTS = Results(RequestCounts(3, 2, 1), "file-out", "file-err")
JOB = Job("job_a", 7, "openai", JobState.VALIDATING, Counts(3), 1, 0.0)

LEGAL = {
    "begun": {S.VALIDATING: S.IN_PROGRESS},
    "failed": {S.VALIDATING: S.FAILED},
    "finalizing": {S.IN_PROGRESS: S.FINALIZING},
    "completed": {S.FINALIZING: S.COMPLETED},
    "expired": {S.VALIDATING: S.EXPIRED, S.IN_PROGRESS: S.EXPIRED},
    "cancelling": {
        S.VALIDATING: S.CANCELLING,
        S.IN_PROGRESS: S.CANCELLING,
        S.CANCELLING: S.CANCELLING,
        S.FINALIZING: S.FINALIZING,
    },
    "cancelled": {S.CANCELLING: S.CANCELLED},
}
STEPS: dict[str, Step] = {
    "begun": steps.begun,
    "failed": lambda b, now: steps.failed(b, (Problem("empty_file", "no"),), now),
    "finalizing": steps.finalizing,
    "completed": lambda b, now: steps.completed(b, RESULTS, now),
    "expired": lambda b, now: steps.expired(b, RESULTS, now),
    "cancelling": steps.cancelling,
    "cancelled": lambda b, now: steps.cancelled(b, RESULTS, now),
}
TIMES = [name for name in Batch.__struct_fields__ if name.endswith("_at")]


def times(batch: Batch) -> dict[str, int]:
    return {n: t for n in TIMES if (t := getattr(batch, n)) is not None}


def try_step(batch: Batch, name: str, now: float) -> Batch:
    """Take a step, or stay if it is refused; check that it is refused rightly."""
    allowed = LEGAL[name].get(batch.state)
    if allowed is None:
        with pytest.raises(WrongState):
            STEPS[name](batch, now)
        return batch
    after = STEPS[name](batch, now)
    assert after.state is allowed
    return after


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=12))
def test_no_step_is_taken_that_is_not_drawn_and_no_time_is_set_twice(
    names: list[str],
) -> None:
    batch = NEW
    for now, name in enumerate(names, 2_000):
        before, batch = batch, try_step(batch, name, now)
        assert times(batch).items() >= times(before).items()
        if batch.state is not before.state:
            assert times(batch)[f"{batch.state}_at"] == now
        else:
            assert batch == before


@pytest.mark.parametrize("end", sorted(BATCH_ENDS))
@pytest.mark.parametrize("name", sorted(STEPS))
def test_an_end_never_changes(end: BatchState, name: str) -> None:
    with pytest.raises(WrongState):
        STEPS[name](msgspec.structs.replace(NEW, state=end), 5_000)


def test_file_ids_are_unset_until_the_end() -> None:
    at_work = steps.finalizing(steps.begun(NEW, 1), 2)
    assert (at_work.output_file_id, at_work.error_file_id) == (None, None)
    done = steps.completed(at_work, RESULTS, 3)
    assert (done.output_file_id, done.error_file_id) == ("file-out", "file-err")


def test_a_checked_batch_names_its_job_and_is_still_validating() -> None:
    batch = steps.checked(NEW, JOB, "m")
    assert (batch.job, batch.job_id, batch.model) == (7, "job_a", "m")
    assert batch.state is S.VALIDATING


def test_each_validation_fills_a_job_of_another_name() -> None:
    once = steps.taken(NEW)
    assert once.job_name != steps.taken(once).job_name


def test_a_refused_batch_counts_no_lines() -> None:
    problems = tuple(Problem("url_mismatch", "no", "url", n) for n in range(200))
    batch = steps.failed(NEW, problems, 1)
    assert batch.counts == RequestCounts()
    assert len(batch.errors) == steps.MAX_PROBLEMS


def test_expired_and_cancelled_lines_are_not_counted_as_failed() -> None:
    counts = Counts(10, 0, 0, 1, 2, 3, 3, 1)
    assert counts_of(counts) == RequestCounts(10, 1, 3)


def test_a_batch_survives_its_document() -> None:
    batch = steps.failed(NEW, (Problem("empty_file", "no"),), 1)
    encoded = msgspec.json.encode(batch)
    assert msgspec.json.decode(encoded, type=Batch) == batch


@pytest.mark.parametrize(
    ("window", "seconds"),
    [("24h", 86_400), ("15m", 900), ("7d", 604_800), ("1s", 1), ("366d", 31_622_400)],
)
def test_any_window_is_taken(window: str, seconds: int) -> None:
    assert window_s(window) == seconds


@pytest.mark.parametrize(
    "window", ["", "24", "h", "0h", "-1h", "1.5h", "24 h", "1w", "367d", "٣h", "24h\n"]
)
def test_a_window_of_another_form_is_refused(window: str) -> None:
    with pytest.raises(ValueError, match="allowed is a number with s, m, h or d"):
        window_s(window)


def test_a_batch_that_has_ended_cannot_be_cancelled() -> None:
    done = msgspec.structs.replace(NEW, state=S.COMPLETED)
    with pytest.raises(WrongState) as refused:
        steps.cancelling(done, 1)
    assert str(refused.value) == "Cannot cancel a batch with status 'completed'."
