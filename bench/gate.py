"""What one decision of the gate costs, with many calls waiting, beside a bare heap.

10,000 calls of three tenants and all priorities wait; each end of a call lets the next
one go. A decision is all that happens between: settle, observe, choose, reserve. To
join is what a call costs that comes to wait. The floor is a heap of (priority, number).
"""

from __future__ import annotations

import asyncio
import heapq
import random
import statistics
import time

from headrace.clock import SystemClock
from headrace.engine.gate import Gate
from headrace.engine.ticket import Ticket
from headrace.events import unheard
from headrace.model import Call, Cost, Endpoint, Limits, Priority, Trace, Usage
from headrace.policies.balance import STRATEGIES, balancer_named
from measure import REPEATS, median, table

WAITING = 10_000
DECISIONS = 10_000
HEAD = (
    "endpoints",
    "strategy",
    "limits",
    "µs a decision",
    "worst 1 %",
    "worst",
    "of floor",
    "µs to join",
)
STATED = Limits(in_flight=8, calls_per_minute=1e9, tokens_per_minute=1e12)
FOUND = Limits(in_flight="auto")


def a_call(number: int, draw: random.Random) -> Call:
    tenant = draw.choice("abc")
    return Call(
        str(number),
        number,
        None,
        Trace(),
        model="m",
        flow=f"{tenant}/job",
        priority=draw.choice(list(Priority)),
        cost=Cost(100),
        job=1,
    )


async def decisions(
    count: int, strategy: str, limits: Limits
) -> tuple[list[float], float]:
    """Return the seconds of each decision of one busy gate, and the median to join."""
    draw = random.Random(5)
    endpoints = [Endpoint(f"e{i}", limits=limits) for i in range(count)]
    gate = Gate(endpoints, SystemClock(), unheard, balancer=balancer_named(strategy))
    tickets = [gate.enter(a_call(i, draw)) for i in range(WAITING)]
    running = [t for t in tickets if t.site is not None]
    waiting = {id(t): t for t in tickets if t.site is None}
    usage = Usage(60, 40)
    spent: list[float] = []
    joined: list[float] = []
    for number in range(WAITING, WAITING + DECISIONS):
        ticket = running.pop(draw.randrange(len(running)))
        call = a_call(number, draw)
        start = time.perf_counter()
        ticket.succeeded(usage, ())
        middle = time.perf_counter()
        late = gate.enter(call)
        joined.append(time.perf_counter() - middle)
        spent.append(middle - start)
        waiting[id(late)] = late
        await asyncio.sleep(0)
        running += _started(waiting, len(waiting) - gate.waiting)
    return sorted(spent), statistics.median(joined)


def _started(waiting: dict[int, Ticket], count: int) -> list[Ticket]:
    """Take those out that have got their permits."""
    found: list[Ticket] = []
    if count:
        found = [t for t in waiting.values() if t.site is not None]
        for ticket in found:
            del waiting[id(ticket)]
    return found


def floor() -> list[float]:
    """Return the seconds of each exchange with a bare heap of as many."""
    draw = random.Random(5)
    heap = [(draw.randrange(4), i) for i in range(WAITING)]
    heapq.heapify(heap)
    spent = []
    for number in range(WAITING, WAITING + DECISIONS):
        entry = (draw.randrange(4), number)
        start = time.perf_counter()
        heapq.heappop(heap)
        heapq.heappush(heap, entry)
        spent.append(time.perf_counter() - start)
    return spent


def main() -> None:
    """Print a table of the gate's decisions."""
    bare = median([statistics.median(floor()) for _ in range(REPEATS)])
    cases = [(1, "headroom", STATED), (1, "headroom", FOUND)]
    cases += [(32, strategy, STATED) for strategy in STRATEGIES]
    cases += [(32, "headroom", FOUND)]
    rows = []
    for count, strategy, limits in cases:
        found = [
            asyncio.run(decisions(count, strategy, limits)) for _ in range(REPEATS)
        ]
        runs = [run for run, _ in found]
        middle = median([statistics.median(run) for run in runs])
        rows.append(
            (
                str(count),
                strategy,
                "found" if limits is FOUND else "stated",
                f"{middle * 1e6:.1f}",
                f"{median([run[len(run) * 99 // 100] for run in runs]) * 1e6:.1f}",
                f"{max(run[-1] for run in runs) * 1e6:.0f}",
                f"{middle / bare:.0f}",
                f"{median([joined for _, joined in found]) * 1e6:.1f}",
            )
        )
    title = f"A decision of the gate, {WAITING:,} waiting; the heap {bare * 1e6:.2f} µs"
    table(title, HEAD, rows)


if __name__ == "__main__":
    main()
