"""Other models, asked where one has failed for good."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine_building import Bench, a_bench, answers_after
from headrace.app import Terms
from headrace.engine.falling_back import falling_back
from headrace.engine.vigil import Vigil
from headrace.errors import BadCall, CallError, ErrorCode, Overloaded, UnknownModel
from headrace.model import Call, Endpoint, Outcome, Retry
from headrace.simulation.virtual import VirtualClock, run_virtual
from headrace.terms import Fallback
from headrace.wire import HttpRequest, with_model

CHAIN = (Fallback("large", "small"), Fallback("small", "tiny"))
TWICE = Retry(max_attempts=2, cap_s=1.0)


def ask(call: Call, model: str) -> Call:
    return msgspec.structs.replace(call, model=model)


def asked(
    failing: dict[str, CallError],
    rules: tuple[Fallback, ...] = CHAIN,
    retry: Retry = TWICE,
    **pool: Any,
) -> tuple[Outcome, list[str]]:
    """Make one call of `large`; return its outcome and the models of all tries."""
    models: list[str] = []

    async def answer(call: Call, endpoint: Endpoint) -> str:
        models.append(call.model)
        await answers_after(1.0)
        if call.model in failing:
            raise failing[call.model]
        return call.model

    async def main() -> Outcome:
        terms = Terms(falling_back=falling_back(rules, ask))
        bench: Bench = a_bench(answer, retry=retry, terms=terms, **pool)
        outcome = await bench.call(model="large")
        assert (bench.built.gate.in_flight, bench.built.gate.waiting) == (0, 0)
        return outcome

    return run_virtual(main()), models


def test_the_second_model_answers_once_the_first_has_failed_for_good() -> None:
    outcome, models = asked({"large": Overloaded("full")})
    assert outcome.value == "small"
    assert models == ["large", "large", "small"]
    assert outcome.trace.model == "small"
    assert outcome.trace.tries == outcome.trace.attempts == 3
    assert outcome.trace.in_flight_s == pytest.approx(3.0)


def test_each_model_gets_all_attempts_and_the_last_ones_error_counts() -> None:
    failing: dict[str, CallError] = {
        name: Overloaded(f"{name} is full") for name in ("large", "small", "tiny")
    }
    outcome, models = asked(failing)
    assert models == ["large", "large", "small", "small", "tiny", "tiny"]
    assert outcome.failure is not None
    assert outcome.failure.message == "tiny is full"


def test_an_error_that_is_not_named_ends_the_call() -> None:
    outcome, models = asked({"large": BadCall("no such field")})
    assert not outcome.ok
    assert models == ["large"]


def test_the_codes_of_a_rule_say_which_errors_it_is_for() -> None:
    rules = (Fallback("large", "small", (ErrorCode.BAD_CALL,)),)
    outcome, _ = asked({"large": BadCall("too long")}, rules)
    assert outcome.value == "small"


def test_models_that_name_each_other_are_asked_once_each() -> None:
    rules = (Fallback("large", "small"), Fallback("small", "large"))
    failing: dict[str, CallError] = {
        "large": Overloaded("full"),
        "small": Overloaded("full"),
    }
    outcome, models = asked(failing, rules, Retry(max_attempts=1))
    assert not outcome.ok
    assert models == ["large", "small"]


def test_a_model_that_no_endpoint_serves_falls_back_without_a_call() -> None:
    outcome, models = asked({}, endpoints=(Endpoint("e", models=("small",)),))
    assert outcome.value == "small"
    assert models == ["small"]


def test_a_model_nobody_knows_falls_back_at_once_and_is_no_sign_of_an_outage() -> None:
    models: list[str] = []

    async def answer(call: Call, endpoint: Endpoint) -> str:
        models.append(call.model)
        if call.model == "large":
            raise UnknownModel("no such model")
        await answers_after(60.0)
        return call.model

    async def main() -> tuple[Outcome, bool]:
        vigil = Vigil(VirtualClock())
        down = asyncio.create_task(vigil.wait_down())
        terms = Terms(falling_back=falling_back(CHAIN, ask))
        bench = a_bench(answer, terms=terms, timeout_s=100.0, vigil=vigil)
        outcome = await bench.call(model="large")
        is_down = down.done()
        down.cancel()
        return outcome, is_down

    outcome, is_down = run_virtual(main())
    assert (outcome.value, is_down, models) == ("small", False, ["large", "small"])


def test_the_time_limit_of_an_item_is_for_all_models_together() -> None:
    retry = Retry(max_attempts=2, total_s=1.5)
    outcome, models = asked({"large": Overloaded("full")}, retry=retry)
    assert outcome.failure is not None
    assert outcome.failure.code is ErrorCode.TIMED_OUT
    assert models.count("small") == 0


def test_only_the_model_of_a_body_changes() -> None:
    request = HttpRequest("/v1/x", b'{"model": "a", "n": 1.50, "k": {"model":"a"}}')
    assert with_model(request, "b").body == b'{"model":"b","n":1.50,"k":{"model":"a"}}'
