"""Gives routes what former sessions have learnt, and keeps what they learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from headrace.clock import Clock
from headrace.ports import Learner, Notes

_log = logging.getLogger("headrace")
REMEMBER_S = 10.0
"""What a killed process has learnt since then must be learnt again."""

_UNREADABLE = (ValueError, TypeError, LookupError, msgspec.MsgspecError)


class Remembering:
    """Keeps the notes of some learners in a store.

    Args:
        notes: the store.
        learners: who learns; of notes of the same name, the last one's counts.
        clock: time.
    """

    def __init__(self, notes: Notes, learners: Sequence[Learner], clock: Clock) -> None:
        self._notes = notes
        self._learners = learners
        self._clock = clock
        self._kept: dict[str, bytes] = {}
        """As this process wrote them; what others wrote is written over when it changes."""

    async def recall(self) -> None:
        """Give every learner all that is remembered.

        A note that a learner cannot read is logged and left out.
        """
        if not self._learners:
            return
        found = await self._notes.recall("")
        for learner in self._learners:
            _give(learner, found)

    async def run(self) -> None:
        """Keep what has changed every 10 s, until cancelled."""
        while self._learners:
            await self._clock.sleep(REMEMBER_S)
            kept = self._kept
            learnt = self._learnt()
            await self._keep({n: learnt[n] for n in learnt if kept.get(n) != learnt[n]})

    async def finish(self) -> None:
        """Keep all that was learnt, changed or not: it is used, so it is not old."""
        await self._keep(self._learnt())

    def _learnt(self) -> dict[str, bytes]:
        return {
            name: value
            for learner in self._learners
            for name, value in learner.notes().items()
        }

    async def _keep(self, notes: Mapping[str, bytes]) -> None:
        if notes:
            await self._notes.remember(notes)
            self._kept.update(notes)


def _give(learner: Learner, notes: Mapping[str, bytes]) -> None:
    """Give all notes at once; if one spoils that, each by itself."""
    try:
        learner.recall(notes)
    except _UNREADABLE:
        for name, value in notes.items():
            try:
                learner.recall({name: value})
            except _UNREADABLE as error:
                _log.warning(
                    "the note %s cannot be read, and is ignored: %s", name, error
                )
