"""How far tenants are ahead of their part of a route, kept for the next process."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.clock import Clock
from headrace.engine.gate import Gate

_OLDEST_S = 3_600.0
"""Who was served long ago owes nothing."""


class DebtNote(msgspec.Struct, frozen=True):
    """How far one tenant was ahead."""

    debt: float
    """In tokens or calls."""
    at: float
    """UTC seconds."""


class FlowNotes:
    """Notes what tenants were served beyond their part; a `Learner`.

    Args:
        gate: serves them.
        clock: time.
        route: whose tenants they are.
    """

    def __init__(self, gate: Gate, clock: Clock, route: str) -> None:
        self._gate = gate
        self._clock = clock
        self._prefix = f"flow/{route}/"

    def notes(self) -> Mapping[str, bytes]:
        """Return who is ahead, by name, and who was but is no more."""
        at, lanes = self._clock.utc(), self._gate.lanes
        owed = dict.fromkeys(lanes.debts, 0.0) | lanes.owed()
        return {
            self._prefix + key: msgspec.json.encode(DebtNote(debt, at))
            for key, debt in owed.items()
        }

    def recall(self, notes: Mapping[str, bytes]) -> None:
        """Serve those first who were not ahead within the last hour.

        Raises:
            MsgspecError: a note cannot be read.
        """
        at = self._clock.utc()
        found = {
            name.removeprefix(self._prefix): msgspec.json.decode(value, type=DebtNote)
            for name, value in notes.items()
            if name.startswith(self._prefix)
        }
        self._gate.lanes.debts = {
            key: note.debt for key, note in found.items() if at - note.at <= _OLDEST_S
        }
