"""How a run is asked to stop: drain first, cancel when asked again."""

from __future__ import annotations

import asyncio

from headrace.errors import HeadraceError


class Drained(HeadraceError):
    """The run is stopping and this item has not been sent: put it back."""


class Shutdown:
    """Two steps, each taken once: `drain` starts nothing new, `cancel` waits for nothing.

    Both leave a job that can be gone on with.
    """

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.cancelling = asyncio.Event()

    def request(self) -> None:
        """Ask to stop; asked again, cancel what runs. Safe from a signal handler."""
        if self.draining.is_set():
            self.cancelling.set()
        else:
            self.draining.set()
