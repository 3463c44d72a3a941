from __future__ import annotations

import asyncio

import pytest

from headrace.engine.vigil import SERVED_PATIENCE, Patience, Vigil
from headrace.errors import (
    BadCall,
    TransientError,
    Unauthorised,
    UnknownModel,
    Unreachable,
)
from headrace.simulation.virtual import VirtualClock, run_virtual


def _now() -> float:
    return asyncio.get_running_loop().time()


def test_without_any_answer_it_gives_up_after_ten_seconds() -> None:
    async def main() -> tuple[float, str]:
        vigil = Vigil(VirtualClock())
        await asyncio.sleep(100)
        vigil.failed(Unauthorised("wrong key"), "one")
        why = await vigil.wait_down()
        return _now(), str(why)

    at, why = run_virtual(main())
    assert at == pytest.approx(1_110.0)
    assert "wrong key" in why
    assert "one" in why


def test_an_answer_in_time_keeps_it_waiting() -> None:
    async def main() -> bool:
        vigil = Vigil(VirtualClock())
        vigil.failed(Unreachable("no connection"), "one")
        down = asyncio.create_task(vigil.wait_down())
        await asyncio.sleep(9)
        vigil.answered()
        await asyncio.sleep(1_000)
        done = down.done()
        down.cancel()
        return done

    assert run_virtual(main()) is False


def test_after_an_answer_it_waits_as_long_as_its_patience() -> None:
    async def main() -> float:
        vigil = Vigil(VirtualClock(), Patience(known_s=900.0))
        vigil.answered()
        vigil.failed(TransientError("broken"), "one")
        await vigil.wait_down()
        return _now()

    assert run_virtual(main()) == pytest.approx(1_900.0)


def test_a_refused_call_shows_that_the_upstream_is_up() -> None:
    async def main() -> int:
        vigil = Vigil(VirtualClock())
        vigil.failed(BadCall("max_tokens is too large"), "one")
        return vigil.answers

    assert run_virtual(main()) == 1


def test_before_the_first_answer_an_unknown_model_is_nobodys_outcome() -> None:
    vigil = Vigil(VirtualClock())
    assert vigil.holds(UnknownModel("no such model"), None)


def test_after_the_first_answer_an_unknown_model_is_the_items_own() -> None:
    async def main() -> bool:
        vigil = Vigil(VirtualClock())
        vigil.answered()
        return vigil.holds(UnknownModel("no such model"), None)

    assert run_virtual(main()) is False


def test_a_key_refused_while_others_are_answered_is_the_items_own() -> None:
    async def main() -> tuple[bool, bool]:
        vigil = Vigil(VirtualClock())
        vigil.answered()
        error = Unauthorised("not your model")
        first = vigil.holds(error, None)
        seen = vigil.answers
        vigil.answered()
        return first, vigil.holds(error, seen)

    assert run_virtual(main()) == (True, False)


def test_an_ordinary_failure_is_never_held() -> None:
    vigil = Vigil(VirtualClock())
    assert not vigil.holds(TransientError("broken"), None)


def test_where_many_models_are_asked_for_an_unknown_one_is_the_items_own() -> None:
    vigil = Vigil(VirtualClock(), SERVED_PATIENCE)
    error = UnknownModel("no such model")
    vigil.failed(error, "one")
    assert not vigil.holds(error, None)
    assert vigil.answers == 1


def test_an_account_is_blamed_only_if_nothing_else_has_failed_for_a_minute() -> None:
    async def main() -> list[bool]:
        vigil = Vigil(VirtualClock())
        seen = [vigil.blames_account]
        vigil.failed(Unreachable("no connection"), "one")
        vigil.failed(Unauthorised("wrong key"), "two")
        seen.append(vigil.blames_account)
        await asyncio.sleep(61)
        seen.append(vigil.blames_account)
        return seen

    assert run_virtual(main()) == [False, False, True]


def test_who_waits_for_an_upstream_hears_that_it_answers_again() -> None:
    async def main() -> float:
        vigil = Vigil(VirtualClock(), SERVED_PATIENCE)
        vigil.failed(Unreachable("no connection"), "one")
        await vigil.wait_down()
        waiting = asyncio.create_task(vigil.wait_other())
        await asyncio.sleep(3_600)
        assert not waiting.done()
        vigil.answered()
        await waiting
        return _now()

    assert run_virtual(main()) == pytest.approx(4_610.0, abs=0.5)
