"""How much of a rate limit is used, and how often it is refused, on virtual time.

Half an hour, saturated, against a sliding log that each call reaches 0 to 200 ms after
it started; the real gate, the real retries, the real dialect.
"""

from __future__ import annotations

import asyncio
import random

from headrace.app import RouteTools, build
from headrace.engine.crew import Crew
from headrace.errors import CallError
from headrace.events import unheard
from headrace.model import Call, Endpoint, Limits, Retry, Trace
from headrace.providers.dialects import dialect_named
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.scenario import scenario_from
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.wire import HttpRequest
from measure import table

SPAN_S = 1_800.0
JITTER_S = 0.2


async def _saturate(
    limits: Limits, scenario: dict[str, object], cost: tuple[int, int]
) -> tuple[Upstream, int]:
    """Call for half an hour; return the upstream and the tokens reserved."""
    clock = VirtualClock(seed=1)
    loop = asyncio.get_running_loop()
    upstream = Upstream(scenario_from(scenario), loop.time())
    provider = SimulatedProvider(upstream, clock, jitter_s=JITTER_S)
    tools = RouteTools(clock, unheard)
    built = build(provider, (Endpoint("one", limits=limits),), Retry(), 600.0, tools)
    dialect = dialect_named("openai")
    draw = random.Random(7)
    end_at = loop.time() + SPAN_S
    reserved = 0
    index = 0

    async def work() -> bool:
        nonlocal reserved, index
        if loop.time() >= end_at:
            return False
        index += 1
        limit = draw.randint(*cost)
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],'
        body += b'"max_tokens":%d}' % limit
        request = HttpRequest("/v1/chat/completions", body)
        model, estimate = dialect.describe(request)
        call = Call(f"job-{index}", index, request, Trace(), model, cost=estimate)
        try:
            async with asyncio.timeout_at(end_at):
                await built.handler(call)
        except (TimeoutError, CallError):
            pass
        else:
            reserved += estimate.tokens
        return True

    await Crew(limits.in_flight + 32).run(work)
    return upstream, reserved


def main() -> None:
    rows = []
    for name, limits, scenario, cost in _CASES:
        upstream, reserved = run_virtual(_saturate(limits, scenario, cost))
        tally = upstream.tally
        minutes = SPAN_S / 60
        rpm, tpm = limits.calls_per_minute, limits.tokens_per_minute
        calls = tally.calls / minutes
        used = calls / rpm if rpm else reserved / minutes / (tpm or 1)
        rows.append([name, f"{sum(tally.refused.values())}", f"{used:.1%}"])
    table(
        "Use of a rate limit, 30 virtual minutes, sliding log, 0 to 200 ms jitter",
        ["limit", "refusals", "used"],
        rows,
    )


_CASES: list[tuple[str, Limits, dict[str, object], tuple[int, int]]] = [
    (
        "600 calls/min",
        Limits(in_flight=100, calls_per_minute=600),
        {"latency": "lognormal:1", "rpm": 600, "rate_model": "sliding_log"},
        (10, 10),
    ),
    *[
        (
            f"60,000 tokens/min, {accounting}, calls of up to 4,000 tokens",
            Limits(
                in_flight=100, tokens_per_minute=60_000, token_accounting=accounting
            ),
            {
                "latency": "lognormal:1",
                "tpm": 60_000,
                "rate_model": "sliding_log",
                "token_accounting": accounting,
            },
            (100, 3_980),
        )
        for accounting in ("reserved", "actual")
    ],
]


if __name__ == "__main__":
    main()
