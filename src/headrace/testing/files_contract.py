"""What every place for files must do: examples, each a sentence that holds or not.

@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_my_files(check): asyncio.run(check(my_files()))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from headrace.errors import NotFound
from headrace.ports import Files

FilesCheck = Callable[[Files], Awaitable[None]]
_ODD_IDS = ("", "..", "a/b", "a\\b", "a.b", "a b", "ä", "x" * 65, "a\0", "/etc/passwd")


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """Give bytes piece by piece."""
    for piece in data:
        yield piece


async def whole(files: Files, id: str, start: int = 0) -> bytes:
    """Return all of a file from `start` on."""
    return b"".join([piece async for piece in files.read(id, start)])


async def bytes_come_back_as_they_were(files: Files) -> None:
    data = bytes(range(256)) * 20_000  # more than four pieces
    cut = [data[at : at + 70_001] for at in range(0, len(data), 70_001)]
    assert await files.write("a-1_B", pieces(*cut)) == len(data)
    assert await files.size("a-1_B") == len(data)
    assert await whole(files, "a-1_B") == data
    assert await whole(files, "a-1_B", 1_500_000) == data[1_500_000:]
    assert await whole(files, "a-1_B", len(data) + 5) == b""
    assert max([len(piece) async for piece in files.read("a-1_B")]) <= 2**20


async def an_empty_file_is_a_file(files: Files) -> None:
    assert await files.write("a", pieces()) == 0
    assert await files.size("a") == 0
    assert await whole(files, "a") == b""


async def what_is_not_there_is_said_so(files: Files) -> None:
    assert await files.size("a") is None
    assert not await files.delete("a")
    try:
        await whole(files, "a")
    except NotFound:
        return
    raise AssertionError("a file that is not there was read")


async def a_deleted_file_is_gone(files: Files) -> None:
    await files.write("a", pieces(b"1"))
    assert await files.delete("a")
    assert await files.size("a") is None


async def a_second_writing_takes_the_place_of_the_first(files: Files) -> None:
    await files.write("a", pieces(b"first" * 900_000))
    reading = files.read("a")
    begun = await anext(reading)
    await files.write("a", pieces(b"second"))
    rest = b"".join([piece async for piece in reading])
    assert begun + rest == b"first" * 900_000
    assert await whole(files, "a") == b"second"


async def a_writing_that_breaks_off_changes_nothing(files: Files) -> None:
    async def breaks_off() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        raise ConnectionError("cut off")

    await files.write("a", pieces(b"old"))
    for name in ("a", "b"):
        try:
            await files.write(name, breaks_off())
        except ConnectionError:
            continue
        raise AssertionError("the error was swallowed")
    assert await whole(files, "a") == b"old"
    assert await files.size("b") is None


async def a_cancelled_writing_changes_nothing(files: Files) -> None:
    begun = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        begun.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(files.write("a", never_ends()))
    await begun.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    assert await files.size("a") is None


async def cancelled_at_any_step_it_is_whole_or_not_there(files: Files) -> None:
    for steps in range(30):
        writing = asyncio.create_task(files.write("a", pieces(b"12", b"34")))
        await asyncio.wait([writing], timeout=steps * 1e-4)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        if await files.size("a") is not None:
            assert await whole(files, "a") == b"1234"
            await files.delete("a")


async def two_writings_at_once_leave_one_of_them(files: Files) -> None:
    one, two = b"1" * 2_500_000, b"2" * 2_500_000
    await asyncio.gather(
        files.write("a", pieces(one[:1_300_000], one[1_300_000:])),
        files.write("a", pieces(two[:1_100_000], two[1_100_000:])),
    )
    assert await whole(files, "a") in (one, two)


async def tidying_leaves_files_and_writings_under_way_alone(files: Files) -> None:
    async def tidied() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        await files.tidy()
        yield b"y"

    await files.write("a", pieces(b"old"))
    reading = files.read("a")
    begun = await anext(reading)
    assert await files.write("a", tidied()) == 3_000_001
    await files.tidy()
    assert begun + b"".join([piece async for piece in reading]) == b"old"
    assert await whole(files, "a") == b"x" * 3_000_000 + b"y"


async def an_id_that_could_be_a_path_is_refused(files: Files) -> None:
    for id in _ODD_IDS:
        try:
            await files.write(id, pieces(b"1"))
        except ValueError:
            continue
        raise AssertionError(f"{id!r} was taken")


CHECKS: Final[tuple[FilesCheck, ...]] = (
    bytes_come_back_as_they_were,
    an_empty_file_is_a_file,
    what_is_not_there_is_said_so,
    a_deleted_file_is_gone,
    a_second_writing_takes_the_place_of_the_first,
    a_writing_that_breaks_off_changes_nothing,
    a_cancelled_writing_changes_nothing,
    cancelled_at_any_step_it_is_whole_or_not_there,
    two_writings_at_once_leave_one_of_them,
    tidying_leaves_files_and_writings_under_way_alone,
    an_id_that_could_be_a_path_is_refused,
)
