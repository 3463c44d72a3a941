"""Asks endpoints that are cut off or idle whether they are well, before calls do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headrace.engine.gate import Gate
from headrace.engine.site import Site
from headrace.errors import CallError, ConfigError
from headrace.model import Endpoint
from headrace.policies.checking import (
    LOOK_S,
    TIME_LIMIT_S,
    Checks,
    Finding,
    finding_of,
)

Look = Callable[[Endpoint, str], Awaitable[tuple[int, bytes]]]
"""Asks an endpoint at a path; returns the status and the start of the body."""


class Checking:
    """Checks the endpoints of one served route that has several.

    Checks take no permits of the gate: they count against no limit.

    Args:
        gate: whose endpoints.
        paths: what may be asked, in this order; where none is known to an endpoint it
            is left to the calls.
        look: asks.
    """

    def __init__(self, gate: Gate, paths: tuple[str, ...], look: Look) -> None:
        self._gate = gate
        self._paths = paths
        self._look = look
        self._checks: dict[Site, Checks] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the loop that runs; `close` ends it."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Check no more; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()  # a fault of ours must not stay unseen

    async def _run(self) -> None:
        while True:
            await self._gate.clock.sleep(LOOK_S)
            due = self._due()
            if due:
                async with asyncio.TaskGroup() as group:
                    for site in due:
                        group.create_task(self._check(site))

    def _due(self) -> list[Site]:
        gate, now = self._gate, self._gate.clock.monotonic()
        if len(gate.sites) < 2:
            return []  # nowhere else to go: only its calls tell
        unknown = Checks(self._paths, quiet_since=now)
        self._checks = {
            site: self._checks.get(site, unknown).seen(
                now, site.breaker, site.started, site.in_flight
            )
            for site in gate.sites
        }
        return [s for s, c in self._checks.items() if c.is_due(now, s.breaker)]

    async def _check(self, site: Site) -> None:
        checks, started = self._checks[site], site.started
        finding = await self._ask(site.endpoint, checks.paths[0])
        gate = self._gate
        now = gate.clock.monotonic()
        before = site.breaker
        if before.state == "closed" and site.started != started:
            finding = Finding.NOTHING  # a call came, and tells more
        after = checks.judge(
            before, now, gate.clock.uniform(), finding, has_other=self._has_other(site)
        )
        self._checks[site] = checks.found(now, finding)
        if after is before or site not in gate.sites:
            return
        site.breaker = after
        if after.state != before.state:
            gate.placement.breaker_moved(site)
        gate.look_again()

    async def _ask(self, endpoint: Endpoint, path: str) -> Finding:
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                status, body = await self._look(endpoint, path)
        except (CallError, TimeoutError):
            return Finding.ILL
        except ConfigError:
            return Finding.ABSENT  # its key is gone: calls say so
        return finding_of(status, body)

    def _has_other(self, site: Site) -> bool:
        """Can other endpoints that are well take all that it takes?"""
        tried = {site.endpoint.name}
        has_other = self._gate.placement.has_other
        return all(has_other(tried, model) for model in site.models or ("",))
