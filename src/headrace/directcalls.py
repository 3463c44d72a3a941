"""Calls made at once on the routes of a process; the store never sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.app import BuiltRoute
from headrace.changes import LOOK_S
from headrace.engine.direct import answer, reply
from headrace.errors import ConfigError, QueueFull
from headrace.jobs import Flow, Leased
from headrace.model import Call, Outcome, Priority, Reply
from headrace.payloads import new_item


class Asker(msgspec.Struct, frozen=True):
    """Who makes a call: a tenant, perhaps with a key of the service."""

    tenant: str = ""
    key: str = ""


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

    def refusal(self, route: str, queued: int, most: int, now: float) -> QueueFull:
        """Return the error that refuses items behind which too many would wait.

        Args:
            route: whose queue is full.
            queued: items that would wait.
            most: that may.
            now: monotonic seconds.
        """
        built, wait_s = self._served.get(route), LOOK_S
        if built is not None and built.gate.shedding is not None:
            wait_s = built.gate.shedding.wait_s(queued, now)
        return QueueFull(
            f"route {route!r}: {queued} items would wait, allowed are {most}; nothing "
            f"was kept; try again in about {math.ceil(wait_s)} s",
            wait_s,
        )

    async def outcome(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        asker: Asker,
        deadline_s: float | None,
    ) -> Outcome:
        """Make one call; a failure is an outcome, not an exception."""
        built, call, name = self._call(payload, route, priority, asker, deadline_s)
        return await answer(built.direct, call, name, deadline_s)

    async def reply(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        asker: Asker,
        deadline_s: float | None,
    ) -> Reply:
        """Make one call and return what came back, perhaps in chunks."""
        built, call, _ = self._call(payload, route, priority, asker, deadline_s)
        return await reply(built.direct, call, deadline_s)

    def _call(
        self,
        payload: Any,
        route: str,
        priority: Priority,
        asker: Asker,
        deadline_s: float | None,
    ) -> tuple[BuiltRoute, Call, str]:
        built = self.built(route)
        if deadline_s is not None and not deadline_s > 0:
            raise ValueError(f"deadline_s {deadline_s} is not above 0")
        self._made += 1
        item = new_item(payload, self._made)
        lease = Leased(0, 0, self._made, item.custom_id, 0, 0, item.payload)
        tenant, key = asker.tenant, asker.key
        flow = Flow(0, "call", route, priority, tenant, deadline_s, key=key)
        return built, built.served.make_call(lease, flow), item.custom_id
