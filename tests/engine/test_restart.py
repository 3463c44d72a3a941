"""What a run has learnt is in its database; what was broken is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine_building import Bench, a_bench, a_call
from headrace.clock import SystemClock
from headrace.engine.flownotes import FlowNotes
from headrace.engine.remembering import Remembering
from headrace.engine.sitenotes import SiteNotes
from headrace.errors import ErrorCode, TransientError
from headrace.model import Call, Endpoint, Limits
from headrace.stores.opening import open_store


async def _answer(_call: Call, _endpoint: Endpoint) -> str:
    return "done"


def a_gate() -> Bench:
    one = Endpoint("one", "http://a", limits=Limits("auto"))
    return a_bench(_answer, endpoints=(one,))


def fail(bench: Bench) -> None:
    """Let one of the calls in flight be one too many, and the others find nobody."""
    calls = [bench.built.gate.enter(a_call(f"call-{i}")) for i in range(16)]
    codes = [ErrorCode.TOO_MANY_CONCURRENT] + [ErrorCode.CONNECT_FAILED] * 15
    for call, code in zip(calls, codes, strict=True):
        call.failed(TransientError("no", code=code))


def test_a_second_run_on_a_file_begins_with_the_limit_and_closed_breakers(
    tmp_path: Path,
) -> None:
    clock, path = SystemClock(), tmp_path / "jobs.db"

    async def run(bench: Bench, *, is_first: bool) -> None:
        gate = bench.built.gate
        learners = (SiteNotes(gate, clock), FlowNotes(gate, clock, "r"))
        store = await open_store(path, clock)
        try:
            memory = Remembering(store, learners, clock)
            await memory.recall()
            if is_first:
                fail(bench)
            await memory.finish()
        finally:
            await store.close()

    async def main() -> None:
        first, second, fresh = a_gate(), a_gate(), a_gate()
        await run(first, is_first=True)
        assert first.built.gate.sites[0].breaker.state != "closed"
        await run(second, is_first=False)
        site = second.built.gate.sites[0]
        assert site.limit.value < fresh.built.gate.sites[0].limit.value
        assert site.breaker.state == "closed"

    asyncio.run(main())
