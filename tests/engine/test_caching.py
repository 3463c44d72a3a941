"""Equal calls are made once, and their answers kept."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from engine_building import Bench, a_bench, a_call
from headrace.app import Terms
from headrace.caches.memory import MemoryCache
from headrace.engine.caching import Caching, Keeping
from headrace.engine.callkeys import function_key_of
from headrace.errors import BadCall, CallError, Overloaded, StoreError, TimedOut
from headrace.model import Limits, Reply, Retry, Trace, Usage
from headrace.policies.keeping import REST_S
from headrace.ports import Cache, CacheSize, Kept
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.terms import CacheRules

ONCE = Retry(max_attempts=1)


def a_caching(cache: Cache | None = None, *, is_shared: bool = False) -> Caching:
    clock = VirtualClock()
    return Caching(cache or MemoryCache(clock), clock, is_shared=is_shared)


def bench_of(
    answer: Any, caching: Caching, rules: CacheRules = CacheRules(), **more: Any
) -> Bench:
    keeping = Keeping(caching, rules, function_key_of("f"))
    return a_bench(answer, terms=Terms(keeping=keeping), **({"retry": ONCE} | more))


async def slow(call: Any, _: Any) -> Reply:
    await asyncio.sleep(1)
    return Reply({"asked": call.payload}, usage=Usage(10, 5))


async def fails(call: Any, _: Any) -> Reply:
    await asyncio.sleep(1)
    raise Overloaded("no")


def test_an_equal_call_is_answered_from_the_cache() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        first, second = await bench.call("a"), await bench.call("b")
        assert first.value == second.value == {"asked": None}
        assert (first.trace.cached, second.trace.cached) == (False, True)
        assert (second.trace.tries, second.attempts) == (0, 0)
        assert len(bench.provider.started) == 1
        told = caching.statistics()
        assert (told.hits, told.misses, told.input_tokens) == (1, 1, 10)
        await caching.close()

    run_virtual(main())


@pytest.mark.parametrize("empty", [None, "", 0, False, [], {}, b""])
def test_an_empty_answer_is_a_hit(empty: object) -> None:
    async def main() -> None:
        async def answer(call: Any, _: Any) -> Reply:
            return Reply(empty)

        caching = a_caching()
        bench = bench_of(answer, caching)
        await bench.call("a")
        again = await bench.call("b")
        assert again.ok
        assert again.value == empty
        assert type(again.value) is type(empty)
        assert len(bench.provider.started) == 1
        await caching.close()

    run_virtual(main())


def test_a_thousand_equal_calls_at_once_are_one_call() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        outcomes = await asyncio.gather(*(bench.call(str(n)) for n in range(1_000)))
        assert all(outcome.ok for outcome in outcomes)
        assert len(bench.provider.started) == 1
        assert caching.statistics().joined == 999
        await caching.close()

    run_virtual(main())


@pytest.mark.parametrize("at_s", [0.0, 0.5])
@pytest.mark.parametrize("stays", [0, 500, 999])
def test_one_call_goes_on_for_the_one_of_a_thousand_that_stays(
    at_s: float, stays: int
) -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        asking = [asyncio.ensure_future(bench.call(str(n))) for n in range(1_000)]
        await asyncio.sleep(at_s)
        for n, task in enumerate(asking):
            if n != stays:
                task.cancel()
        outcome = await asking[stays]
        await asyncio.gather(*asking, return_exceptions=True)
        assert outcome.ok
        assert len(bench.provider.started) == 1
        await caching.close()

    run_virtual(main())


@pytest.mark.parametrize("at_s", [None, 0.0, 0.5])
def test_no_call_is_made_when_all_leave_before_it_starts(at_s: float | None) -> None:
    """The only slot is taken while the thousand ask and leave."""

    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching, limits=Limits(in_flight=1))
        first = asyncio.ensure_future(bench.call("first", payload="other"))
        await asyncio.sleep(0.1)
        asking = [asyncio.ensure_future(bench.call(str(n))) for n in range(1_000)]
        if at_s is not None:
            await asyncio.sleep(at_s)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await first
        await asyncio.sleep(5)
        assert [name for _, name, _ in bench.provider.started] == ["first"]
        assert bench.built.gate.waiting == 0
        await caching.close()

    run_virtual(main())


def test_the_call_ends_when_the_last_one_leaves() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        asking = [asyncio.ensure_future(bench.call(str(n))) for n in range(10)]
        await asyncio.sleep(0.5)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert bench.provider.running == 0
        assert bench.built.gate.in_flight == 0
        await caching.close()

    run_virtual(main())


def test_who_comes_while_the_last_one_leaves_is_answered() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        first = asyncio.ensure_future(bench.call("a"))
        await asyncio.sleep(0.5)
        first.cancel()
        second = asyncio.ensure_future(bench.call("b"))
        assert (await second).ok
        assert first.cancelled()
        await caching.close()

    run_virtual(main())


def test_an_error_is_shared_and_not_kept() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(fails, caching)
        outcomes = await asyncio.gather(*(bench.call(str(n)) for n in range(20)))
        assert {outcome.failure.message for outcome in outcomes} == {"no"}
        assert len(bench.provider.started) == 1
        await bench.call("again")
        assert len(bench.provider.started) == 2
        await caching.close()

    run_virtual(main())


def test_an_answer_ends_with_its_time() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching, CacheRules(ttl_s=100, jitter=0.1))
        await bench.call("a")
        await asyncio.sleep(89)
        assert (await bench.call("b")).trace.cached
        await asyncio.sleep(12)
        assert not (await bench.call("c")).trace.cached
        await caching.close()

    run_virtual(main())


def test_a_stale_answer_is_given_if_the_call_fails() -> None:
    async def main() -> None:
        async def once(call: Any, endpoint: Any) -> Reply:
            if len(bench.provider.started) > 1:
                raise Overloaded("no")
            return await slow(call, endpoint)

        caching = a_caching()
        rules = CacheRules(ttl_s=10, stale_if_error_s=100)
        bench = bench_of(once, caching, rules)
        await bench.call("a")
        await asyncio.sleep(20)
        stale = await bench.call("b")
        assert stale.ok
        assert stale.trace.cached
        assert caching.statistics().stale == 1
        await asyncio.sleep(100)
        assert not (await bench.call("c")).ok
        await caching.close()

    run_virtual(main())


def test_a_call_that_is_refused_gets_no_stale_answer() -> None:
    async def main() -> None:
        async def once(call: Any, endpoint: Any) -> Reply:
            if len(bench.provider.started) > 1:
                raise BadCall("wrong")
            return await slow(call, endpoint)

        caching = a_caching()
        bench = bench_of(once, caching, CacheRules(ttl_s=10, stale_if_error_s=100))
        await bench.call("a")
        await asyncio.sleep(20)
        assert not (await bench.call("b")).ok
        await caching.close()

    run_virtual(main())


def test_a_call_that_refuses_the_cache_is_made() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        await bench.call("a")
        assert not (await bench.call("b", cacheable=False)).trace.cached
        assert caching.statistics().skipped == 1
        await caching.close()

    run_virtual(main())


def test_a_joined_call_waits_no_longer_than_its_own_deadline() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(bench.call("a"))
        await asyncio.sleep(0.1)
        late = await bench.call("b", deadline=loop.time() + 0.5)
        assert late.failure.code == TimedOut.default_code
        assert (await first).ok
        await caching.close()

    run_virtual(main())


def test_who_has_more_time_than_the_first_tries_on() -> None:
    async def main() -> None:
        async def once(call: Any, endpoint: Any) -> Reply:
            if len(bench.provider.started) == 1:
                return await fails(call, endpoint)
            return await slow(call, endpoint)

        caching = a_caching()
        bench = bench_of(once, caching, retry=Retry(max_attempts=3))
        loop = asyncio.get_running_loop()
        short = asyncio.ensure_future(bench.call("a", deadline=loop.time() + 0.9))
        await asyncio.sleep(0.1)
        assert (await bench.call("b")).ok
        assert not (await short).ok
        await caching.close()

    run_virtual(main())


def test_each_who_joins_gets_a_value_of_its_own() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        one, two = await asyncio.gather(bench.call("a"), bench.call("b"))
        one.value["asked"] = "changed"
        assert two.value == {"asked": None}
        await caching.close()

    run_virtual(main())


def test_an_answer_that_json_cannot_hold_is_shared_but_not_kept() -> None:
    async def main() -> None:
        async def answer(call: Any, _: Any) -> Reply:
            await asyncio.sleep(1)
            return Reply((1, 2))

        caching = a_caching()
        bench = bench_of(answer, caching)
        both = await asyncio.gather(bench.call("a"), bench.call("b"))
        assert [outcome.value for outcome in both] == [(1, 2), (1, 2)]
        await bench.call("c")
        assert len(bench.provider.started) == 2
        await caching.close()

    run_virtual(main())


def test_the_time_of_a_joined_call_is_told_apart() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        first, joined = await asyncio.gather(bench.call("a"), bench.call("b"))
        assert first.trace.in_flight_s == pytest.approx(1)
        assert joined.trace.joined_s == pytest.approx(1)
        assert (joined.trace.tries, joined.trace.in_flight_s) == (0, 0)
        await caching.close()

    run_virtual(main())


def test_joined_calls_do_not_hold_up_others() -> None:
    """More equal items than there are workers, and others behind them."""

    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching, limits=Limits(in_flight=2))
        calls = [a_call(str(n), payload="same") for n in range(2_000)]
        calls += [a_call("other", payload="other")]
        queue = iter(calls)
        ended: dict[str, float] = {}

        async def work() -> bool:
            call = next(queue, None)
            if call is None:
                return False
            await bench.built.handler(call)
            ended[call.id] = asyncio.get_running_loop().time()
            return True

        began = asyncio.get_running_loop().time()
        await bench.built.crew.run(work)
        assert ended["other"] - began == pytest.approx(1, abs=0.1)
        assert max(ended.values()) - began == pytest.approx(1, abs=0.1)
        assert len(bench.provider.started) == 2
        assert bench.built.crew.resting == 0
        await caching.close()

    run_virtual(main())


# ---- other processes


def test_a_second_process_waits_for_the_answer_of_the_first() -> None:
    async def main() -> None:
        cache = MemoryCache(VirtualClock())
        one, two = a_caching(cache, is_shared=True), a_caching(cache, is_shared=True)
        first, second = bench_of(slow, one), bench_of(slow, two)
        both = await asyncio.gather(first.call("a"), second.call("b"))
        assert all(outcome.ok for outcome in both)
        assert len(first.provider.started) + len(second.provider.started) == 1
        await one.close()
        await two.close()

    run_virtual(main())


def test_the_lease_of_a_long_call_is_renewed() -> None:
    async def main() -> None:
        async def long(call: Any, _: Any) -> Reply:
            await asyncio.sleep(50)
            return Reply("done")

        cache = MemoryCache(VirtualClock())
        one, two = a_caching(cache, is_shared=True), a_caching(cache, is_shared=True)
        first, second = bench_of(long, one), bench_of(long, two)
        both = await asyncio.gather(first.call("a"), second.call("b"))
        assert all(outcome.ok for outcome in both)
        assert len(first.provider.started) + len(second.provider.started) == 1
        await one.close()
        await two.close()

    run_virtual(main())


def test_the_lease_of_a_dead_process_is_taken_over() -> None:
    async def main() -> None:
        cache = MemoryCache(VirtualClock())
        key = function_key_of("f")(a_call())
        assert key is not None
        await cache.claim(key, "a process that died", 10.0)
        caching = a_caching(cache, is_shared=True)
        bench = bench_of(slow, caching)
        began = asyncio.get_running_loop().time()
        assert (await bench.call()).ok
        assert 10 <= asyncio.get_running_loop().time() - began <= 12
        await caching.close()

    run_virtual(main())


def test_a_failed_call_lets_another_process_try_at_once() -> None:
    async def main() -> None:
        cache = MemoryCache(VirtualClock())
        one, two = a_caching(cache, is_shared=True), a_caching(cache, is_shared=True)
        first, second = bench_of(fails, one), bench_of(slow, two)
        failing = asyncio.ensure_future(first.call("a"))
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        assert (await second.call("b")).ok
        assert asyncio.get_running_loop().time() - began <= 3
        assert not (await failing).ok
        await one.close()
        await two.close()

    run_virtual(main())


class Broken:
    """A cache whose place cannot be reached."""

    async def get(self, key: bytes) -> Kept | None:
        raise StoreError("away")

    async def put(self, key: bytes, value: bytes, fresh_s: Any, kept_s: Any) -> None:
        raise StoreError("away")

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        raise StoreError("away")

    async def release(self, key: bytes, holder: str) -> None:
        raise StoreError("away")

    async def size(self) -> CacheSize:
        raise StoreError("away")

    async def clear(self) -> None:
        raise StoreError("away")

    async def close(self) -> None:
        raise StoreError("away")


def test_a_cache_that_fails_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        caching = a_caching(Broken(), is_shared=True)
        bench = bench_of(slow, caching)
        outcomes = await asyncio.gather(*(bench.call(str(n)) for n in range(10)))
        assert all(outcome.ok for outcome in outcomes)
        assert len(bench.provider.started) == 1
        assert (await caching.full_statistics()).entries is None
        await caching.close()

    run_virtual(main())
    assert len(caplog.records) == 1


class Failing(MemoryCache):
    """A cache that can be made to hang for ten seconds and then fail, part by part."""

    def __init__(self) -> None:
        super().__init__(VirtualClock())
        self.fails: set[str] = set()
        self.asked: list[str] = []

    async def get(self, key: bytes) -> Kept | None:
        await self._hang("get")
        return await super().get(key)

    async def put(self, key: bytes, value: bytes, fresh_s: Any, kept_s: Any) -> None:
        await self._hang("put")
        await super().put(key, value, fresh_s, kept_s)

    async def claim(self, key: bytes, holder: str, lease_s: float) -> bool:
        await self._hang("claim")
        return await super().claim(key, holder, lease_s)

    async def _hang(self, part: str) -> None:
        self.asked.append(part)
        if part in self.fails:
            await asyncio.sleep(10)
            raise StoreError("hangs")


def test_a_cache_that_hangs_holds_up_one_call_in_each_rest() -> None:
    async def main() -> None:
        cache = Failing()
        cache.fails = {"get", "put", "claim"}
        caching = a_caching(cache, is_shared=True)
        bench = bench_of(slow, caching)
        now = asyncio.get_running_loop().time
        began = now()
        for n in range(60):
            assert (await bench.call(str(n), payload=n)).ok
        rests = 1 + (now() - began) / REST_S
        assert cache.asked.count("get") <= rests
        assert len(cache.asked) <= 2 * rests
        await caching.close()

    run_virtual(main())


def test_a_cache_that_is_well_again_is_used_after_its_rest() -> None:
    async def main() -> None:
        cache = Failing()
        cache.fails = {"get", "put", "claim"}
        caching = a_caching(cache, is_shared=True)
        bench = bench_of(slow, caching)
        await bench.call("a")
        cache.fails = set()
        await asyncio.sleep(REST_S)
        await bench.call("b")
        await bench.call("c")
        assert len(bench.provider.started) == 2
        await caching.close()

    run_virtual(main())


def test_what_can_be_read_is_given_while_nothing_can_be_put() -> None:
    async def main() -> None:
        cache = Failing()
        caching = a_caching(cache, is_shared=True)
        bench = bench_of(slow, caching)
        await bench.call("a", payload="kept")
        cache.fails = {"put", "claim"}
        await bench.call("b", payload="new")
        await bench.call("c", payload="kept")
        assert len(bench.provider.started) == 2
        await caching.close()

    run_virtual(main())


async def calls_sent(cache: Failing) -> int:
    """Make one call in a process of its own; return how often it was sent."""
    caching = a_caching(cache, is_shared=True)
    bench = bench_of(slow, caching)
    assert (await asyncio.wait_for(bench.call(), 100)).ok
    await caching.close()
    return len(bench.provider.started)


@pytest.mark.parametrize("damaged", [b"", b"\x00{", b"\x01junk", b"?"])
def test_a_damaged_answer_is_made_again_and_mended(
    damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        cache = Failing()
        key = function_key_of("f")(a_call())
        assert key is not None
        await cache.put(key, damaged, None, None)
        assert await calls_sent(cache) == 1
        assert await calls_sent(cache) == 0

    run_virtual(main())
    assert [record.message for record in caplog.records] == [
        "answers that were kept are damaged, so they are made again"
    ]


def test_an_answer_that_is_there_but_cannot_be_read_is_made_again() -> None:
    async def main() -> None:
        cache = Failing()
        await calls_sent(cache)
        cache.fails = {"get"}
        assert await calls_sent(cache) == 1

    run_virtual(main())


@pytest.mark.parametrize("is_shared", [False, True])
def test_cancelled_at_every_await_it_leaks_nothing(is_shared: bool) -> None:
    """Two equal calls; the first is cancelled at its k-th step, for every k."""

    async def main(steps: int) -> bool:
        caching = a_caching(is_shared=is_shared)
        bench = bench_of(slow, caching)
        tasks_before = len(asyncio.all_tasks())
        first = asyncio.ensure_future(bench.call("a"))
        second = asyncio.ensure_future(bench.call("b"))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_over = first.done()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await second).ok
        assert len(bench.provider.started) <= 2
        assert bench.built.gate.in_flight == 0
        assert bench.built.crew.resting == 0
        await caching.close()
        assert len(asyncio.all_tasks()) == tasks_before
        return was_over

    for steps in range(30):
        run_virtual(main(steps))


def test_a_trace_of_its_own_is_kept_by_each() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        one, two = await asyncio.gather(bench.call("a"), bench.call("b"))
        assert isinstance(one.trace, Trace)
        assert one.trace is not two.trace
        await caching.close()

    run_virtual(main())


def test_close_cancels_what_is_under_way() -> None:
    async def main() -> None:
        caching = a_caching()
        bench = bench_of(slow, caching)
        asking = asyncio.ensure_future(bench.call("a"))
        await asyncio.sleep(0.5)
        await caching.close()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert bench.provider.running == 0

    run_virtual(main())


def test_copies_of_an_error_say_the_same() -> None:
    error = CallError("no", status=500, body=b"x", request_id="r")
    same = copy.copy(error)
    assert (same.message, same.status, same.body) == ("no", 500, b"x")
    assert same.request_id == "r"
