"""When the store is asked which jobs have work, and when that would be in vain."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.jobs import Flow
from headrace.ports import Store

_RESTS = 4
"""A look is followed by a rest of so many times as long, while no more may be leased
but what is more urgent. With thousands of jobs that wait a look takes 20 ms, and each
new job asks for one."""


class Looks:
    """Asks which jobs of a route have work.

    Args:
        store: where they are.
        route: the route.
        clock: time.
    """

    def __init__(self, store: Store, route: str, clock: Clock) -> None:
        self._store = store
        self._route = route
        self._clock = clock
        self._rested_at = 0.0
        self.has_news = True
        """May there be work of a kind that was not there before?"""

    @property
    def rest_s(self) -> float:
        """Seconds in which news can wait, if no more may be leased; <= 0: none."""
        return self._rested_at - self._clock.monotonic() if self.has_news else 0.0

    async def flows(self) -> list[Flow]:
        """Ask the store now."""
        self.has_news = False
        asked_at = self._clock.monotonic()
        flows = await self._store.flows([self._route])
        now = self._clock.monotonic()
        self._rested_at = now + _RESTS * (now - asked_at)
        return flows
