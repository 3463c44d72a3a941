from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest

from engine_building import Pupil
from headrace.engine.remembering import REMEMBER_S, Remembering
from headrace.ports import Notes
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore


async def recalled_from(notes: Notes) -> dict[str, int]:
    pupil = Pupil()
    await Remembering(notes, [pupil], VirtualClock()).recall()
    return pupil.learnt


def test_what_one_session_learnt_the_next_one_recalls() -> None:
    async def main() -> dict[str, int]:
        store = MemoryStore(VirtualClock())
        await Remembering(store, [Pupil(a=7)], VirtualClock()).finish()
        return await recalled_from(store)

    assert run_virtual(main()) == {"a": 7}


def test_changes_are_kept_every_ten_seconds() -> None:
    async def main() -> list[dict[str, int]]:
        store, pupil = MemoryStore(VirtualClock()), Pupil(a=1)
        memory = Remembering(store, [pupil], VirtualClock())
        running = asyncio.create_task(memory.run())
        seen = []
        for value in (2, 3):
            pupil.learnt["a"] = value
            await asyncio.sleep(REMEMBER_S + 0.001)
            seen.append(await recalled_from(store))
        running.cancel()
        return seen

    assert run_virtual(main()) == [{"a": 2}, {"a": 3}]


def test_what_has_not_changed_is_not_written_again() -> None:
    written: list[Mapping[str, bytes]] = []

    class Counting(MemoryStore):
        async def remember(self, notes: Mapping[str, bytes]) -> None:
            written.append(dict(notes))

    async def main() -> None:
        memory = Remembering(
            Counting(VirtualClock()), [Pupil(a=1, b=2)], VirtualClock()
        )
        running = asyncio.create_task(memory.run())
        await asyncio.sleep(5 * REMEMBER_S)
        running.cancel()

    run_virtual(main())
    assert written == [{"limit/a": b"1", "limit/b": b"2"}]


def test_a_note_that_cannot_be_read_is_logged_and_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> dict[str, int]:
        store = MemoryStore(VirtualClock())
        await store.remember({"limit/a": b"7", "limit/b": b"{", "limit/c": b"9"})
        return await recalled_from(store)

    with caplog.at_level(logging.WARNING, "headrace"):
        assert run_virtual(main()) == {"a": 7, "c": 9}
    assert ["limit/b" in line for line in caplog.messages] == [True]


def test_without_a_learner_nothing_is_asked_of_the_store() -> None:
    async def main() -> None:
        memory = Remembering(MemoryStore(VirtualClock()), [], VirtualClock())
        await memory.run()
        await memory.recall()
        await memory.finish()

    run_virtual(main())
