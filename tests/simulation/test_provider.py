from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.errors import (
    BadCall,
    BadReply,
    ErrorCode,
    Interrupted,
    Overloaded,
    Throttled,
    TransientError,
    Unauthorised,
    UnknownModel,
    Unreachable,
)
from headrace.model import Call, Endpoint, Reply, Trace
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.scenario import Scenario, scenario_from
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import START_S, Deadlock, VirtualClock, run_virtual
from headrace.wire import HttpRequest

ENDPOINT = Endpoint("sim")


def chat(n: int = 0, **more: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": f"number {n}"}]}
    request = HttpRequest("/v1/chat/completions", msgspec.json.encode({**body, **more}))
    return Call(f"job-{n}", n, request, Trace(tries=1))


def now() -> float:
    return asyncio.get_running_loop().time()


def ask(
    scenario: Scenario, calls: list[Call], *, endpoint: Endpoint = ENDPOINT
) -> tuple[list[Reply | BaseException], list[float], Upstream]:
    """Send calls at the same moment; return answers, their times, and the upstream."""

    async def main() -> tuple[list[Reply | BaseException], list[float], Upstream]:
        upstream = Upstream(scenario, now())
        provider = SimulatedProvider(upstream, VirtualClock())
        ends = [0.0] * len(calls)

        async def one(place: int, call: Call) -> Reply:
            try:
                return await provider.send(call, endpoint)
            finally:
                ends[place] = now() - START_S

        sent = [one(place, call) for place, call in enumerate(calls)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        return list(answers), ends, upstream

    return run_virtual(main())


def ask_one(scenario: Scenario, call: Call | None = None) -> Reply | BaseException:
    return ask(scenario, [call or chat()])[0][0]


def test_an_answer_takes_its_latency_and_reports_its_tokens() -> None:
    answers, ends, upstream = ask(Scenario(latency="constant:2.5"), [chat()])
    assert ends == [2.5]
    reply = answers[0]
    assert isinstance(reply, Reply)
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (2, 16)
    assert upstream.tally.answered == 1


def test_the_same_seed_makes_the_same_decisions() -> None:
    scenario = scenario_from(
        {"latency": "lognormal:1", "error_rate": 0.2, "drop_rate": 0.2, "seed": 3}
    )
    calls = [chat(n) for n in range(50)]
    first, second = ask(scenario, calls), ask(scenario, calls)
    assert first[1] == second[1]
    assert list(map(type, first[0])) == list(map(type, second[0]))
    other = ask(scenario_from({"seed": 4}, scenario), calls)
    assert other[1] != first[1]


def test_a_full_server_refuses_and_says_concurrency() -> None:
    answers, _, upstream = ask(Scenario(cap=3), [chat(n) for n in range(5)])
    refused = [a for a in answers if isinstance(a, Throttled)]
    assert [a.code for a in refused] == [ErrorCode.TOO_MANY_CONCURRENT] * 2
    assert upstream.tally.peak_in_flight == 3
    assert upstream.tally.refused == {"concurrency": 2}


def test_a_queueing_server_serves_in_order_of_arrival() -> None:
    scenario = Scenario(cap=2, cap_mode="queue", latency="constant:1")
    _, ends, upstream = ask(scenario, [chat(n) for n in range(5)])
    assert ends == [1, 1, 2, 2, 3]
    assert upstream.tally.peak_in_flight == 2


def test_calls_beyond_the_rate_are_refused_with_a_true_retry_after() -> None:
    answers, _, _ = ask(Scenario(rpm=60), [chat(n) for n in range(62)])
    refused = [a for a in answers if isinstance(a, Throttled)]
    assert len(refused) == 2
    assert refused[0].dimension == "calls"
    assert refused[0].retry_after_s == pytest.approx(1.0)


def test_tokens_beyond_the_rate_are_refused_as_tokens() -> None:
    calls = [chat(n, max_tokens=50) for n in range(3)]
    answers, _, _ = ask(Scenario(tpm=110), calls)
    assert isinstance(answers[2], Throttled)
    assert answers[2].dimension == "tokens"


def test_headers_tell_what_is_left() -> None:
    scenario = Scenario(rpm=60, tpm=6000, token_accounting="reserved")
    reply = ask_one(scenario, chat(max_tokens=98))
    assert isinstance(reply, Reply)
    told = {quota.dimension: quota for quota in reply.quotas}
    assert (told["calls"].limit, told["calls"].remaining) == (60, 59)
    assert (told["tokens"].limit, told["tokens"].remaining) == (6000, 5905)
    assert told["calls"].reset_s == pytest.approx(0.95)


def test_headers_can_be_switched_off() -> None:
    scenario = Scenario(rpm=1, headers=False, retry_after=False)
    answers, _, _ = ask(scenario, [chat(1), chat(2)])
    assert isinstance(answers[0], Reply)
    assert answers[0].quotas == ()
    assert isinstance(answers[1], Throttled)
    assert answers[1].retry_after_s is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"error_rate": 1}, TransientError),
        ({"error_rates": {503: 1}}, Overloaded),
        ({"error_rates": {400: 1}}, BadCall),
        ({"error_rates": {429: 1}}, Throttled),
        ({"drop_rate": 1}, Interrupted),
        ({"malformed_rate": 1}, BadReply),
        ({"models": ["other"]}, UnknownModel),
        ({"down": "unavailable"}, Overloaded),
        ({"down": "drop"}, Interrupted),
        ({"outages": [{"from_s": 0, "to_s": 9, "kind": "refuse"}]}, Unreachable),
    ],
)
def test_each_fault_is_what_the_dialect_makes_of_it(
    settings: dict[str, Any], expected: type[Exception]
) -> None:
    answers, _, upstream = ask(scenario_from(settings), [chat(n) for n in range(8)])
    assert {type(a) for a in answers} == {expected}
    assert upstream.tally.in_flight == 0


def test_a_hung_call_is_never_answered() -> None:
    with pytest.raises(Deadlock):
        ask(Scenario(hang_rate=1), [chat()])


@pytest.mark.slow
def test_the_shares_of_faults_come_true() -> None:
    scenario = scenario_from(
        {"error_rate": 0.1, "error_rates": {503: 0.05}, "drop_rate": 0.05}
    )
    _, _, upstream = ask(scenario, [chat(n) for n in range(2000)])
    tally = upstream.tally
    assert tally.errors[500] == pytest.approx(200, rel=0.2)
    assert tally.errors[503] == pytest.approx(100, rel=0.3)
    assert tally.dropped == pytest.approx(100, rel=0.3)
    assert tally.calls == tally.answered + tally.errors.total() + tally.dropped


def test_a_missing_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_KEY", "right")

    async def main(endpoint: Endpoint) -> Reply:
        upstream = Upstream(Scenario(), now(), key="right")
        provider = SimulatedProvider(upstream, VirtualClock())
        return await provider.send(chat(), endpoint)

    with pytest.raises(Unauthorised):
        run_virtual(main(ENDPOINT))
    assert run_virtual(main(Endpoint("sim", key_env="SIM_KEY"))).status == 200


def test_slow_start_ends() -> None:
    async def main() -> list[float]:
        scenario = scenario_from({"slow_start": {"for_s": 10, "factor": 10}})
        provider = SimulatedProvider(Upstream(scenario, now()), VirtualClock())
        taken = []
        for pause_s in (0, 20):
            await asyncio.sleep(pause_s)
            began = now()
            await provider.send(chat(), ENDPOINT)
            taken.append(now() - began)
        return taken

    assert run_virtual(main()) == pytest.approx([0.5, 0.05])


async def _read(reply: Reply) -> list[bytes]:
    assert reply.chunks is not None
    return [chunk async for chunk in reply.chunks]


def test_a_stream_comes_evenly_and_holds_its_slot_to_the_end() -> None:
    async def main() -> tuple[int, list[bytes], float, int]:
        upstream = Upstream(Scenario(latency="constant:2"), now())
        provider = SimulatedProvider(upstream, VirtualClock())
        options = {"include_usage": True}
        reply = await provider.send(chat(stream=True, stream_options=options), ENDPOINT)
        during = upstream.tally.in_flight
        chunks = await _read(reply)
        assert reply.usage is not None
        assert reply.usage.output_tokens == 16
        return during, chunks, now() - START_S, upstream.tally.in_flight

    during, chunks, elapsed_s, after = run_virtual(main())
    assert (during, after) == (1, 0)
    assert elapsed_s == pytest.approx(2)
    assert chunks[-1] == b"data: [DONE]\n\n"


def test_a_closed_stream_counts_as_aborted() -> None:
    async def main() -> tuple[int, int]:
        upstream = Upstream(Scenario(), now())
        provider = SimulatedProvider(upstream, VirtualClock())
        reply = await provider.send(chat(stream=True), ENDPOINT)
        chunks: Any = reply.chunks
        await anext(chunks)
        await chunks.aclose()
        return upstream.tally.aborted, upstream.tally.in_flight

    assert run_virtual(main()) == (1, 0)


@pytest.mark.parametrize("scenario", [Scenario(), Scenario(cap=1, cap_mode="queue")])
def test_a_caller_who_leaves_frees_his_place(scenario: Scenario) -> None:
    async def main() -> Upstream:
        upstream = Upstream(scenario, now())
        provider = SimulatedProvider(upstream, VirtualClock())
        tasks = [
            asyncio.create_task(provider.send(chat(n), ENDPOINT)) for n in range(3)
        ]
        await asyncio.sleep(0.01)
        for task in tasks[:2]:
            task.cancel()
        await tasks[2]
        return upstream

    tally = run_virtual(main()).tally
    assert (tally.aborted, tally.answered) == (2, 1)
    assert (tally.in_flight, tally.waiting) == (0, 0)


def test_calls_are_counted_by_item_and_by_body() -> None:
    calls = [chat(1), chat(1), chat(2)]
    _, _, upstream = ask(Scenario(), calls)
    found = upstream.tally.ids(whole=True)
    assert found["items"]["all"] == {"job-1": 2, "job-2": 1}
    assert found["items"]["repeated"] == {"job-1": 2}
    assert found["bodies"]["by_count"] == {"1": 1, "2": 1}


def test_jitter_delays_arrival_within_its_bounds() -> None:
    async def main() -> float:
        upstream = Upstream(Scenario(latency="constant:1"), now())
        provider = SimulatedProvider(upstream, VirtualClock(1), jitter_s=0.2)
        await provider.send(chat(), ENDPOINT)
        return now() - START_S

    assert 1.0 < run_virtual(main()) < 1.2


def _actual_use(accounting: str) -> Callable[[], int]:
    def count() -> int:
        async def main() -> int:
            scenario = scenario_from(
                {
                    "tpm": 1000,
                    "rate_model": "sliding_log",
                    "token_accounting": accounting,
                }
            )
            upstream = Upstream(scenario, now())
            provider = SimulatedProvider(upstream, VirtualClock())
            answered = 0
            for n in range(20):
                try:
                    await provider.send(chat(n, max_tokens=198), ENDPOINT)
                    answered += 1
                except Throttled:
                    break
            return answered

        return run_virtual(main())

    return count


def test_reserved_tokens_are_kept_and_actual_ones_given_back() -> None:
    assert _actual_use("reserved")() == 5
    assert _actual_use("actual")() == 20
