"""Builds small engines on virtual time, for tests of how they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from headrace.app import Built, RouteTools, Terms, build
from headrace.engine.budgeting import Ledger
from headrace.engine.outcomes import failed, succeeded
from headrace.engine.vigil import Vigil
from headrace.errors import CallError, Rejected
from headrace.events import Event
from headrace.model import (
    Call,
    Cost,
    Endpoint,
    Limits,
    Outcome,
    Priority,
    Reply,
    Retry,
    Trace,
)
from headrace.simulation.virtual import VirtualClock

Answer = Callable[[Call, Endpoint], Awaitable[Any]]


class Scripted:
    """A provider whose answers a test writes; notes when each call started and ended."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.started: list[tuple[float, str, str]] = []
        self.running = 0
        self.peak = 0
        self.closed = False

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        self.started.append((asyncio.get_running_loop().time(), call.id, endpoint.name))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            value = await self._answer(call, endpoint)
        finally:
            self.running -= 1
        return value if isinstance(value, Reply) else Reply(value)

    async def close(self) -> None:
        self.closed = True


class Pupil:
    """Learns whole numbers by name."""

    def __init__(self, **learnt: int) -> None:
        self.learnt = learnt

    def notes(self) -> Mapping[str, bytes]:
        return {f"limit/{k}": str(v).encode() for k, v in self.learnt.items()}

    def recall(self, notes: Mapping[str, bytes]) -> None:
        for name, value in notes.items():
            if name.startswith("limit/"):
                self.learnt[name.removeprefix("limit/")] = int(value)


class Bench(msgspec.Struct):
    """One engine on virtual time and what it tells."""

    built: Built
    provider: Scripted
    events: list[Event]

    async def call(self, name: str = "a", **fields: Any) -> Outcome:
        """Make one call through all layers; return its outcome."""
        call = a_call(name, **fields)
        try:
            reply = await self.built.handler(call)
        except (CallError, Rejected) as error:
            return failed(call, name, error)
        return succeeded(call, name, reply)


def a_call(name: str = "a", **fields: Any) -> Call:
    tokens = fields.pop("tokens", 0)
    return Call(
        name,
        fields.pop("index", 0),
        fields.pop("payload", None),
        Trace(),
        cost=Cost(tokens),
        priority=fields.pop("priority", Priority.NORMAL),
        **fields,
    )


async def answers_after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


def a_bench(
    answer: Answer,
    *,
    limits: Limits = Limits(),
    endpoints: tuple[Endpoint, ...] | None = None,
    retry: Retry = Retry(),
    timeout_s: float = 60.0,
    terms: Terms = Terms(),
    ledger: Ledger | None = None,
    vigil: Vigil | None = None,
) -> Bench:
    """Build an engine around `answer`; call it inside a virtual loop."""
    events: list[Event] = []
    provider = Scripted(answer)
    tools = RouteTools(VirtualClock(), events.append, vigil, ledger=ledger)
    pool = endpoints or (Endpoint("one", limits=limits),)
    built = build(provider, pool, retry, timeout_s, tools, terms)
    return Bench(built, provider, events)
