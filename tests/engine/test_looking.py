from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headrace.engine.looking import Looks
from headrace.jobs import Flow
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.stores.memory import MemoryStore


class _SlowStore(MemoryStore):
    """Takes 20 ms to say which jobs have work."""

    async def flows(self, routes: Sequence[str]) -> list[Flow]:
        await asyncio.sleep(0.02)
        return await super().flows(routes)


def test_after_a_look_news_can_wait_four_times_as_long() -> None:
    async def main() -> float:
        clock = VirtualClock()
        looks = Looks(_SlowStore(clock), "r", clock)
        await looks.flows()
        looks.has_news = True
        return looks.rest_s

    assert run_virtual(main()) == pytest.approx(0.08)


def test_without_news_there_is_nothing_that_could_wait() -> None:
    async def main() -> tuple[bool, float]:
        clock = VirtualClock()
        looks = Looks(_SlowStore(clock), "r", clock)
        await looks.flows()
        return looks.has_news, looks.rest_s

    assert run_virtual(main()) == (False, 0.0)
