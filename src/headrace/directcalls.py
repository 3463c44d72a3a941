"""Calls made at once on the routes of a process; the store never sees them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.app import BuiltRoute
from headrace.changes import LOOK_S, Changes
from headrace.engine.direct import answer, reply
from headrace.engine.streaming import at_end
from headrace.errors import CallError, ConfigError, QueueFull, TimedOut
from headrace.events import CallEnded
from headrace.jobs import Flow, Leased
from headrace.model import Call, Endpoint, Outcome, Priority, Reply, Usage
from headrace.payloads import new_item


class Asker(msgspec.Struct, frozen=True):
    """Who makes a call: a tenant, perhaps with a key of the service."""

    tenant: str = ""
    key: str = ""


class DirectCalls:
    """Numbers the direct calls of a process, and makes them.

    Args:
        served: by name; may still grow.
        changes: told of each call that has ended.
    """

    def __init__(self, served: Mapping[str, BuiltRoute], changes: Changes) -> None:
        self._served = served
        self._changes = changes
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
        usage: Usage | None = None
        try:
            outcome = await answer(built.direct, call, name, deadline_s)
            usage = outcome.usage
            return outcome
        finally:
            self._changes.tell_called(CallEnded(route, asker.tenant, call.trace, usage))

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

        def tell(usage: Usage | None) -> None:
            self._changes.tell_called(CallEnded(route, asker.tenant, call.trace, usage))

        try:
            found = await reply(built.direct, call, deadline_s)
        except BaseException:
            tell(None)
            raise
        return at_end(found, lambda: tell(found.usage))

    async def each(
        self, payload: Any, route: str, timeout_s: float
    ) -> dict[str, Reply | CallError]:
        """Ask every endpoint of a route the same at once; return what each said.

        Past the gate, the tries and the limits: for what takes nothing of a provider.

        Args:
            payload: an `HttpRequest`.
            route: whose endpoints.
            timeout_s: for each; who does not answer within has failed.

        Raises:
            ConfigError: this process does not serve the route.
        """
        built, call, _ = self._call(payload, route, Priority.HIGH, Asker(), timeout_s)
        provider = built.built.provider

        async def ask(endpoint: Endpoint) -> Reply | CallError:
            try:
                async with asyncio.timeout(timeout_s):
                    return await provider.send(call, endpoint)
            except TimeoutError:
                return TimedOut(f"{endpoint.name} did not answer in {timeout_s:g} s")
            except CallError as error:
                return error

        async with asyncio.TaskGroup() as group:
            asked = {e.name: group.create_task(ask(e)) for e in built.pool.endpoints}
        return {name: task.result() for name, task in asked.items()}

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
