"""OUT is what the store says, wherever the last run was cut off."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.errors import ErrorCode, OutputClosed, OutputError
from headrace.jobs import (
    AttemptRecord,
    Counts,
    Finished,
    Job,
    JobState,
    NewItem,
    NewJob,
)
from headrace.jsonl.badline import BadLine
from headrace.jsonl.rendering import (
    Rendering,
    errors_path,
    output_path,
    rendering_to_files,
    rendering_to_stream,
)
from headrace.model import Failure, ItemState, Outcome
from headrace.stores.memory import MemoryStore

BAD = BadLine("IN.jsonl", 17, "url", '"x"', "a path")


def ended(number: int) -> Outcome:
    """Return an outcome; every third item fails."""
    if number % 3:
        body = b'{"n":%d}' % number
        return Outcome(
            f"i{number}", number, ItemState.SUCCEEDED, body, number=number, status=200
        )
    failure = Failure(ErrorCode.TIMED_OUT, "no answer")
    return Outcome(
        f"i{number}", number, ItemState.FAILED, failure=failure, number=number
    )


class Outcomes:
    """What a store knows of one job."""

    def __init__(self, *numbers: int) -> None:
        self.rows = [ended(number) for number in numbers]
        self.pages = 0

    async def outcomes(
        self, job: int, after: int = 0, limit: int = 500
    ) -> list[Outcome]:
        self.pages += 1
        await asyncio.sleep(0)
        return [row for row in self.rows if row.number > after][:limit]

    async def job(self, ref: str) -> Job | None:
        raise AssertionError(ref)

    async def jobs(self, limit: int = 50, before: int | None = None) -> list[Job]:
        raise AssertionError(limit, before)

    async def attempts(self, job: int, seq: int) -> list[AttemptRecord]:
        raise AssertionError(job, seq)


def job_with(mark: dict[str, int] | None = None) -> Job:
    return Job(
        "job_1", 7, "r", JobState.IN_PROGRESS, Counts(), 1, 0.0, rendered=mark or {}
    )


async def start(rendering: Rendering, bad: Sequence[BadLine] = ()) -> None:
    """Bring the files to what the store knows, as a run does when it starts."""
    if rendering.is_intact():
        await rendering.resume()
        return
    rendering.begin()
    for line in bad:
        rendering.leave_out(line)
    await rendering.complete()


def render(
    out: Path,
    store: Outcomes,
    mark: dict[str, int] | None = None,
    bad: Sequence[BadLine] = (),
) -> dict[str, int]:
    """Run once from start to end; return the mark."""

    async def main() -> dict[str, int]:
        rendering = rendering_to_files(job_with(mark), store, out)
        try:
            await start(rendering, bad)
            await rendering.finish()
            return rendering.mark
        finally:
            rendering.close()

    return asyncio.run(main())


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names_in(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "OUT.jsonl"


def test_successes_and_failures_stand_apart_in_the_order_they_ended(out: Path) -> None:
    render(out, Outcomes(1, 2, 3, 4, 6))
    assert names_in(out) == ["i1", "i2", "i4"]
    assert names_in(errors_path(out)) == ["i3", "i6"]


def test_there_is_no_errors_file_without_a_failure(out: Path) -> None:
    errors_path(out).write_bytes(b"of an earlier run\n")
    render(out, Outcomes(1, 2))
    assert set(files_of(out.parent)) == {"OUT.jsonl"}


def test_out_exists_even_if_nothing_succeeded(out: Path) -> None:
    render(out, Outcomes(3))
    assert out.read_bytes() == b""
    assert names_in(errors_path(out)) == ["i3"]


def test_lines_left_out_come_first_in_the_errors_file(out: Path) -> None:
    render(out, Outcomes(3), bad=[BAD])
    assert names_in(errors_path(out)) == [None, "i3"]


def test_a_run_goes_on_behind_its_mark(out: Path) -> None:
    mark = render(out, Outcomes(1, 2, 3), bad=[BAD])
    render(out, Outcomes(1, 2, 3, 4, 6), mark)
    assert names_in(out) == ["i1", "i2", "i4"]
    assert names_in(errors_path(out)) == [None, "i3", "i6"]


def test_what_is_intact_is_not_written_again(out: Path) -> None:
    mark = render(out, Outcomes(1, 2, 3))
    before = out.stat().st_ino
    render(out, Outcomes(1, 2, 3), mark)
    assert out.stat().st_ino == before


def test_a_retry_that_succeeds_takes_its_line_out_of_the_errors_file(out: Path) -> None:
    render(out, Outcomes(1, 3))
    store = Outcomes(1, 2)
    render(out, store, mark={})
    assert names_in(out) == ["i1", "i2"]
    assert not errors_path(out).exists()


damages: list[Callable[[Path], object]] = [
    Path.unlink,
    lambda path: path.write_bytes(path.read_bytes()[:-7]),
    lambda path: path.write_bytes(path.read_bytes() + b'{"half a li'),
    lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"of someone else\n" * 99),
]


@pytest.mark.parametrize("damage", damages)
@pytest.mark.parametrize("name", ["OUT.jsonl", "OUT.errors.jsonl"])
def test_a_damaged_file_is_made_right(
    out: Path, name: str, damage: Callable[[Path], object]
) -> None:
    store = Outcomes(*range(1, 30))
    mark = render(out, store, bad=[BAD])
    whole = files_of(out.parent)
    damage(out.parent / name)
    assert render(out, store, mark, bad=[BAD]) == mark
    assert files_of(out.parent) == whole


@pytest.mark.slow
def test_the_files_are_the_same_wherever_they_are_cut(out: Path) -> None:
    store = Outcomes(*range(1, 8))
    mark = render(out, store)
    whole = files_of(out.parent)
    for name, data in whole.items():
        for cut in range(0, len(data) + 1, 11):
            (out.parent / name).write_bytes(data[:cut])
            assert render(out, store, mark) == mark
            assert files_of(out.parent) == whole


class Life(msgspec.Struct, frozen=True):
    """One process: what it commits, and where it leaves its files when it is killed."""

    groups: list[tuple[int, bool]]
    """Outcomes in each commit, and whether all of them are its own."""
    cuts: tuple[float, float]
    """How much is left of OUT and of the errors file."""


shares = st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0])
lives = st.lists(
    st.builds(
        Life,
        st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=3),
        st.tuples(shares, shares),
    ),
    max_size=4,
)


@pytest.mark.slow
@given(lives)
def test_any_commits_kills_and_cuts_end_in_the_same_files(lives: list[Life]) -> None:
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        out = Path(folder) / "OUT.jsonl"
        store, mark = Outcomes(), {}
        for life in lives:
            mark = asyncio.run(live(life, out, store, mark))
            for cut, path in zip(life.cuts, (out, errors_path(out)), strict=True):
                whole = path.read_bytes()
                path.write_bytes(whole[: int(len(whole) * cut)])
        render(out, store, mark, [BAD])
        total = len(store.rows)
        render(Path(other) / "OUT.jsonl", Outcomes(*range(1, total + 1)), bad=[BAD])
        assert files_of(Path(folder)) == files_of(Path(other))


async def live(
    life: Life, out: Path, store: Outcomes, mark: dict[str, int]
) -> dict[str, int]:
    """Commit some groups; return the mark that the store has in the end."""
    rendering = rendering_to_files(job_with(mark), store, out)
    await start(rendering, [BAD])
    stored = rendering.mark
    for size, all_ours in life.groups:
        stored = rendering.mark
        first = len(store.rows) + 1
        group = [ended(number) for number in range(first, first + size)]
        store.rows += group
        ours = group if all_ours else group[1:]
        await rendering.add([(row.number, row) for row in reversed(ours)])
    rendering.close()
    return stored


def test_outcomes_that_others_recorded_are_fetched(out: Path) -> None:
    async def main() -> None:
        store = Outcomes(1, 2)
        rendering = rendering_to_files(job_with(), store, out)
        await start(rendering)
        store.rows += [ended(4), ended(5), ended(7)]
        await rendering.add([(7, ended(7)), (4, ended(4))])
        rendering.close()

    asyncio.run(main())
    assert names_in(out) == ["i1", "i2", "i4", "i5", "i7"]


def test_commits_in_a_row_need_no_look_at_the_store(out: Path) -> None:
    async def main() -> None:
        store = Outcomes()
        rendering = rendering_to_files(job_with(), store, out)
        await start(rendering)
        before = store.pages
        await rendering.add([(2, ended(2)), (1, ended(1))])
        await rendering.add([(2, ended(2)), (3, ended(3)), (4, ended(4))])
        assert store.pages == before
        rendering.close()

    asyncio.run(main())
    assert names_in(out) == ["i1", "i2", "i4"]


def test_a_commit_during_a_fetch_is_written_once(out: Path) -> None:
    async def main() -> None:
        store = Outcomes(*range(1, 100))
        rendering = rendering_to_files(job_with(), store, out)
        rendering.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(rendering.complete())
            group.create_task(rendering.add([(n, ended(n)) for n in range(90, 100)]))
        rendering.close()

    asyncio.run(main())
    assert len(names_in(out)) == 66


@pytest.mark.slow
def test_large_answers_are_fetched_by_small_pages(out: Path) -> None:
    class Large(Outcomes):
        async def outcomes(
            self, job: int, after: int = 0, limit: int = 500
        ) -> list[Outcome]:
            limits.append(limit)
            return await super().outcomes(job, after, limit)

    limits: list[int] = []
    store = Large(*range(1, 41, 3))
    body = b'"%b"' % (b"x" * 4_000_000)
    store.rows = [msgspec.structs.replace(row, value=body) for row in store.rows]
    render(out, store)
    assert set(limits[1:-1]) <= {1, 2}


def test_the_old_files_stand_until_the_new_ones_are_whole(out: Path) -> None:
    out.write_bytes(b"old\n")
    rendering = rendering_to_files(job_with(), Outcomes(1, 3), out)
    rendering.begin()
    rendering.leave_out(BAD)
    assert out.read_bytes() == b"old\n"
    rendering.close()
    assert files_of(out.parent) == {"OUT.jsonl": b"old\n"}


def test_out_that_is_removed_while_it_is_written_is_noticed(out: Path) -> None:
    async def main() -> None:
        rendering = rendering_to_files(job_with(), Outcomes(1), out)
        await start(rendering)
        os.unlink(out)
        try:
            await rendering.finish()
        finally:
            rendering.close()

    with pytest.raises(OutputError, match="was removed"):
        asyncio.run(main())


@pytest.mark.parametrize("place", ["/dev/null", "/"])
def test_what_is_no_file_is_never_replaced(place: str) -> None:
    with pytest.raises(OutputError, match="is no file"):
        output_path(place)


def test_a_missing_folder_is_named(out: Path) -> None:
    with pytest.raises(OutputError, match=r"none/OUT\.jsonl: No such file"):
        render(out.parent / "none" / "OUT.jsonl", Outcomes(1))


def test_a_full_disk_is_named_and_loses_nothing(out: Path) -> None:
    async def main() -> None:
        rendering = rendering_to_files(job_with(), Outcomes(1), out)
        await start(rendering)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, rendering._out._fd)  # type: ignore[attr-defined]
        os.close(full)
        before = rendering.mark
        with pytest.raises(OutputError, match=r"OUT\.jsonl: No space left"):
            await rendering.add([(2, ended(2))])
        assert rendering.mark == before
        rendering.close()

    asyncio.run(main())


def test_a_stream_gets_all_successes_from_the_first_on() -> None:
    async def main() -> None:
        store = Outcomes(1, 2, 3)
        rendering = rendering_to_stream(job_with({"number": 2}), store, writer)
        await start(rendering, [BAD])
        await rendering.add([(4, ended(4))])
        await rendering.finish()
        rendering.close()

    reader, writer = os.pipe()
    asyncio.run(main())
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert [json.loads(line)["custom_id"] for line in stream] == ["i1", "i2", "i4"]


def test_a_reader_that_has_gone_is_no_fault_of_the_disk() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    rendering = rendering_to_stream(job_with(), Outcomes(1), writer)
    with pytest.raises(OutputClosed):
        asyncio.run(start(rendering))
    os.close(writer)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("OUT.jsonl", "OUT.errors.jsonl"),
        ("OUT", "OUT.errors.jsonl"),
        ("a.b.txt", "a.b.txt.errors.jsonl"),
    ],
)
def test_the_errors_file_is_named_after_out(name: str, errors: str) -> None:
    assert errors_path(Path("/x") / name) == Path("/x") / errors


def test_a_run_is_named_by_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there.jsonl")
    assert output_path(str(tmp_path / "link")) == tmp_path / "there.jsonl"


def test_after_a_retry_the_store_is_certain_of_no_file(out: Path) -> None:
    async def main() -> None:
        store = MemoryStore(SystemClock())
        job, _ = await store.create(NewJob("r"))
        await store.add(job.number, [NewItem("a", b"{}")])
        await store.seal(job.number)
        epoch = await store.register("host", 1, 30.0)
        (lease,) = await store.lease(epoch, [(job.number, 1)])
        failure = Failure(ErrorCode.TIMED_OUT, "no answer")
        outcome = Outcome("a", 0, ItemState.FAILED, failure=failure)
        await store.record(epoch, [Finished(lease, outcome)])
        await store.mark_rendered(job.number, {"number": 1})
        await store.conclude(job.number)
        await store.retry(job.number)
        retried = await store.job(job.id)
        assert retried is not None
        assert not rendering_to_files(retried, store, out).is_intact()
        assert retried.rendered == {}

    asyncio.run(main())
