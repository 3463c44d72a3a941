from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from engine_building import a_bench, answers_after
from headrace.errors import BadCall, Overloaded, Throttled, TransientError
from headrace.events import TryFailed
from headrace.model import Limits, Retry
from headrace.simulation.virtual import run_virtual


def _failing(times: int, error: Exception) -> Any:
    left = [times]

    async def answer(_call: Any, _endpoint: Any) -> str:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return "done"

    return answer


def test_a_transient_failure_is_tried_again() -> None:
    async def main() -> Any:
        bench = a_bench(_failing(2, TransientError("oops")))
        return await bench.call()

    outcome = run_virtual(main())
    assert (outcome.ok, outcome.attempts, outcome.trace.tries) == (True, 3, 3)


def test_attempts_are_spent_first_included() -> None:
    async def main() -> Any:
        bench = a_bench(
            _failing(99, TransientError("oops")), retry=Retry(max_attempts=3)
        )
        return await bench.call(), len(bench.provider.started)

    outcome, calls = run_virtual(main())
    assert (outcome.ok, outcome.attempts, calls) == (False, 3, 3)


def test_a_permanent_failure_is_final() -> None:
    async def main() -> Any:
        bench = a_bench(_failing(1, BadCall("no")))
        return await bench.call(), len(bench.provider.started)

    outcome, calls = run_virtual(main())
    assert (outcome.failure.code, calls) == ("bad_call", 1)


def test_being_throttled_spends_no_attempt_and_heeds_retry_after() -> None:
    async def main() -> Any:
        bench = a_bench(
            _failing(8, Throttled("slow", status=429, retry_after_s=7.0)),
            retry=Retry(max_attempts=2),
        )
        outcome = await bench.call()
        starts = [at for at, _, _ in bench.provider.started]
        return outcome, [b - a for a, b in itertools.pairwise(starts)]

    outcome, gaps = run_virtual(main())
    assert (outcome.ok, outcome.attempts, outcome.trace.tries) == (True, 1, 9)
    assert min(gaps) >= 7.0


def test_a_throttled_endpoint_gets_no_other_call_meanwhile() -> None:
    async def main() -> list[float]:
        bench = a_bench(_failing(1, Throttled("slow", status=429, retry_after_s=5.0)))
        first = asyncio.create_task(bench.call("first"))
        await asyncio.sleep(1.0)
        await asyncio.gather(first, bench.call("second"))
        return [at for at, _, _ in bench.provider.started]

    starts = run_virtual(main())
    assert starts[0] == 1_000.0
    assert min(starts[1:]) >= 1_005.0


def test_backing_off_holds_no_slot() -> None:
    error = Overloaded("busy", status=503, retry_after_s=50.0)

    async def answer(call: Any, _endpoint: Any) -> str:
        if call.id == "sick" and call.trace.tries == 1:
            raise error
        return await answers_after(1.0)

    async def main() -> float:
        bench = a_bench(answer, limits=Limits(in_flight=1))
        sick = asyncio.create_task(bench.call("sick"))
        await asyncio.gather(*[bench.call(str(i)) for i in range(5)])
        at = asyncio.get_running_loop().time()
        await sick
        return at

    assert run_virtual(main()) == pytest.approx(1_005.0)


def test_an_attempt_ends_at_its_time_limit() -> None:
    async def hang(_call: Any, _endpoint: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> Any:
        bench = a_bench(hang, retry=Retry(max_attempts=1), timeout_s=30.0)
        outcome = await bench.call()
        return outcome, asyncio.get_running_loop().time(), bench.built.gate.in_flight

    outcome, at, in_flight = run_virtual(main())
    assert outcome.failure.code == "request_timeout"
    assert (at, in_flight) == (pytest.approx(1_030.0), 0)


def test_an_item_ends_at_its_own_time_limit_whatever_it_waits_for() -> None:
    async def main() -> Any:
        bench = a_bench(
            _failing(99, Throttled("slow", status=429, retry_after_s=20.0)),
            retry=Retry(total_s=45.0),
        )
        outcome = await bench.call()
        return outcome, asyncio.get_running_loop().time()

    outcome, at = run_virtual(main())
    assert outcome.failure.code == "request_timeout"
    assert at == pytest.approx(1_045.0)


def test_each_failed_try_is_told() -> None:
    async def main() -> list[Any]:
        bench = a_bench(_failing(2, TransientError("oops")))
        await bench.call()
        return [e for e in bench.events if isinstance(e, TryFailed)]

    told = run_virtual(main())
    assert [e.message for e in told] == ["oops", "oops"]
    assert all(e.wait_s is not None for e in told)


def test_the_parts_of_the_time_add_up_to_the_sojourn() -> None:
    async def answer(call: Any, _endpoint: Any) -> str:
        if call.trace.tries == 1:
            await asyncio.sleep(0.5)
            raise TransientError("oops")
        return await answers_after(2.0)

    async def main() -> list[tuple[float, float]]:
        limits = Limits(in_flight=2, calls_per_minute=60)
        bench = a_bench(answer, limits=limits)
        found = []

        async def one(name: str) -> None:
            start = asyncio.get_running_loop().time()
            trace = (await bench.call(name)).trace
            spent_s = asyncio.get_running_loop().time() - start
            parts = trace.rate_s + trace.slot_s + trace.endpoint_s
            found.append((spent_s, parts + trace.backoff_s + trace.in_flight_s))

        await asyncio.gather(*[one(str(i)) for i in range(8)])
        return found

    for spent_s, parts_s in run_virtual(main()):
        assert parts_s == pytest.approx(spent_s)
