from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace.jobs import Flow
from headrace.model import Priority
from headrace.policies.allotment import allot


def _flow(job: int, priority: Priority = Priority.NORMAL, tenant: str = "") -> Flow:
    return Flow(job, f"job_{job}", "r", priority, tenant, None, 1)


_flows = st.lists(
    st.tuples(st.sampled_from(Priority), st.sampled_from("abc")), max_size=12
).map(lambda kinds: [_flow(n, *kind) for n, kind in enumerate(kinds)])


@given(_flows, st.integers(0, 40), st.integers(0, 100))
def test_the_room_is_given_out_exactly(flows: list[Flow], room: int, turn: int) -> None:
    counts = allot(room, flows, turn)
    assert sum(count for _, count in counts) == (room if flows else 0)
    assert all(count > 0 for _, count in counts)


def test_tenants_count_alike_however_many_jobs_they_have() -> None:
    flows = [_flow(0, tenant="a"), *(_flow(n, tenant="b") for n in range(1, 5))]
    assert allot(8, flows, 0) == [(0, 4), (1, 1), (2, 1), (3, 1), (4, 1)]


def test_priorities_have_their_shares() -> None:
    flows = [_flow(1, Priority.URGENT), _flow(2, Priority.HIGH), _flow(3, Priority.LOW)]
    assert allot(85, flows, 0) == [(1, 50), (2, 25), (3, 10)]


def test_what_cannot_be_split_goes_round() -> None:
    given_out: Counter[int] = Counter()
    for turn in range(30):
        given_out.update(dict(allot(2, [_flow(n) for n in range(3)], turn)))
    assert given_out == {0: 20, 1: 20, 2: 20}
