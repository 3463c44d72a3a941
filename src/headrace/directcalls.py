"""Calls made at once on the routes of a process; the store never sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.app import BuiltRoute
from headrace.changes import LOOK_S
from headrace.engine.direct import answer, reply
from headrace.errors import ConfigError
from headrace.jobs import Flow, Leased
from headrace.model import Call, Outcome, Priority, Reply
from headrace.payloads import new_item


class DirectCalls:
    """Numbers the direct calls of a process, and makes them.

    Args:
        served: by name; may still grow.
    """

    def __init__(self, served: Mapping[str, BuiltRoute]) -> None:
        self._served = served
        self._made = 0

    def built(self, route: str) -> BuiltRoute:
        """Return a route that this process serves.

        Raises:
            ConfigError: it does not.
        """
        built = self._served.get(route)
        if built is None:
            known = ", ".join(sorted(self._served)) or "none"
            raise ConfigError(
                f"route: given {route!r}, allowed are those served: {known}"
            )
        return built

    def wait_s(self, route: str, queued: int, now: float) -> float:
        """Return about how many seconds an item waits behind so many others."""
        built = self._served.get(route)
        if built is None or built.gate.shedding is None:
            return LOOK_S
        return built.gate.shedding.wait_s(queued, now)

    async def outcome(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        tenant: str,
        deadline_s: float | None,
    ) -> Outcome:
        """Make one call; a failure is an outcome, not an exception."""
        built, call, name = self._call(payload, route, priority, tenant, deadline_s)
        return await answer(built.direct, call, name, deadline_s)

    async def reply(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        tenant: str,
        deadline_s: float | None,
    ) -> Reply:
        """Make one call and return what came back, perhaps in chunks."""
        built, call, _ = self._call(payload, route, priority, tenant, deadline_s)
        return await reply(built.direct, call, deadline_s)

    def _call(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        tenant: str,
        deadline_s: float | None,
    ) -> tuple[BuiltRoute, Call, str]:
        built = self.built(route)
        if deadline_s is not None and not deadline_s > 0:
            raise ValueError(f"deadline_s {deadline_s} is not above 0")
        self._made += 1
        item = new_item(payload, self._made)
        lease = Leased(0, 0, self._made, item.custom_id, 0, 0, item.payload)
        flow = Flow(0, "call", route, priority, tenant, deadline_s)
        return built, built.served.make_call(lease, flow), item.custom_id
