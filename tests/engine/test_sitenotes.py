"""What one process learns of an endpoint, the next begins with."""

from __future__ import annotations

import msgspec
import pytest

from engine_building import a_bench, a_call
from headrace.engine.sitenotes import SiteNotes
from headrace.errors import ErrorCode, TransientError
from headrace.model import Call, Endpoint, Limits
from headrace.simulation.virtual import EPOCH_AT, VirtualClock, run_virtual

NAME = "limit/http://a#"


def endpoint(in_flight: int | str = "auto", most: int = 512) -> Endpoint:
    limits = Limits(in_flight, max_in_flight=most)
    return Endpoint("one", "http://a", limits=limits)


async def _answer(_call: Call, _endpoint: Endpoint) -> str:
    return "done"


def notes_of(one: Endpoint) -> SiteNotes:
    return SiteNotes(a_bench(_answer, endpoints=(one,)).built.gate, VirtualClock())


def note(in_flight: int, age_s: float = 60.0) -> dict[str, bytes]:
    at = EPOCH_AT - age_s
    return {NAME: msgspec.json.encode({"in_flight": in_flight, "at": at})}


def begun(one: Endpoint, notes: dict[str, bytes]) -> int:
    """Return how many calls may be in flight after a recall."""

    async def main() -> int:
        gate = a_bench(_answer, endpoints=(one,)).built.gate
        SiteNotes(gate, VirtualClock()).recall(notes)
        assert gate.capacity == gate.sites[0].limit.value
        return gate.capacity

    return run_virtual(main())


def test_a_run_begins_with_four_fifths_of_what_the_last_one_found():
    assert begun(endpoint(), note(100)) == 80


def test_the_users_ceiling_holds_whatever_was_found():
    assert begun(endpoint(most=16), note(100)) == 16


def test_a_stated_limit_is_not_replaced_by_what_was_found():
    assert begun(endpoint(7), note(100)) == 7


def test_what_was_found_more_than_a_day_ago_is_forgotten():
    assert begun(endpoint(), note(100, age_s=100_000.0)) == begun(endpoint(), {})


def test_another_account_of_the_same_address_begins_anew():
    other = msgspec.structs.replace(endpoint(), key_env="OTHER_KEY")
    assert begun(other, note(100)) == begun(endpoint(), {})


def test_a_note_that_is_none_is_refused():
    with pytest.raises(msgspec.MsgspecError):
        begun(endpoint(), {NAME: b"twelve"})


def test_nothing_is_noted_before_the_limit_has_moved():
    async def main() -> bool:
        return not notes_of(endpoint()).notes()

    assert run_virtual(main())


def test_what_was_found_is_noted_under_the_address():
    async def main() -> dict[str, object]:
        bench = a_bench(_answer, endpoints=(endpoint(),))
        ticket = bench.built.gate.enter(a_call())
        ticket.failed(TransientError("full", code=ErrorCode.TOO_MANY_CONCURRENT))
        found = SiteNotes(bench.built.gate, VirtualClock()).notes()
        return {name: msgspec.json.decode(text) for name, text in found.items()}

    found = run_virtual(main())
    assert found[NAME]["in_flight"] == 1
