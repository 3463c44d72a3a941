"""Who goes next."""

from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.model import Priority
from headrace.policies.admission import SHARES, FairQueue

LOW, NORMAL, HIGH, URGENT = Priority


class Entry:
    """Something that waits."""

    def __init__(
        self, flow: str, priority: Priority = NORMAL, cost: float = 1.0
    ) -> None:
        self.flow = flow
        self.priority = priority
        self.cost = cost

    def __eq__(self, other: object) -> bool:
        return True  # all alike: only identity tells them apart

    __hash__ = None


def push(
    queue: FairQueue[Entry],
    entry: Entry,
    now: float = 0.0,
    *,
    front: bool = False,
) -> Entry:
    queue.push(entry, entry.flow, entry.priority, entry.cost, now, front=front)
    return entry


def drained(queue: FairQueue[Entry], now: float = 0.0) -> list[Entry]:
    gone = []
    while (entry := queue.pop(now)) is not None:
        gone.append(entry)
    return gone


def flows_of(entries: list[Entry]) -> str:
    return "".join(e.flow for e in entries)


def test_an_empty_queue_has_nobody():
    queue: FairQueue[Entry] = FairQueue()
    assert (queue.peek(0.0), queue.pop(0.0), len(queue)) == (None, None, 0)


def test_one_flow_is_first_in_first_out():
    queue: FairQueue[Entry] = FairQueue()
    entries = [push(queue, Entry("a", cost=i)) for i in range(5)]
    assert list(map(id, drained(queue))) == list(map(id, entries))


def test_a_retry_returns_to_the_front_of_its_own_flow_only():
    queue: FairQueue[Entry] = FairQueue()
    for flow in "abab":
        push(queue, Entry(flow))
    push(queue, Entry("A"))
    retried = push(queue, Entry("b"), front=True)
    gone = drained(queue)
    assert flows_of(gone) == "abAabb"
    assert gone[1] is retried


def test_peek_shows_who_pop_takes():
    queue: FairQueue[Entry] = FairQueue()
    for flow, priority in zip("abc", (LOW, URGENT, NORMAL), strict=True):
        push(queue, Entry(flow, priority))
    while len(queue):
        seen = queue.peek(0.0)
        assert queue.peek(0.0) is seen
        assert queue.pop(0.0) is seen


def test_an_urgent_call_starts_next_whatever_waits():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(50):
        push(queue, Entry("bulk", LOW, 1000.0))
    for _ in range(20):
        queue.pop(0.0)
    push(queue, Entry("now", URGENT))
    assert queue.pop(0.0).flow == "now"


def test_classes_that_all_wait_get_their_shares():
    queue: FairQueue[Entry] = FairQueue()
    for priority in Priority:
        for _ in range(1000):
            push(queue, Entry("x", priority, 10.0))
    served = Counter(queue.pop(0.0).priority for _ in range(1000))
    assert served == pytest.approx({p: 1000 * s for p, s in SHARES.items()}, abs=8)


def test_bulk_gets_its_tenth_against_everybody():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(2000):
        push(queue, Entry("bulk", LOW, 100.0))
        push(queue, Entry("chat", URGENT, 100.0))
    served = [queue.pop(0.0).flow for _ in range(600)]
    assert served.count("bulk") >= (600 - 8) / 6


def test_a_share_nobody_uses_goes_to_those_who_wait():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(300):
        push(queue, Entry("bulk", LOW))
    assert len(drained(queue)) == 300


def test_a_class_that_was_away_is_not_paid_for_its_absence():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(1000):
        push(queue, Entry("bulk", LOW))
    for _ in range(500):
        queue.pop(0.0)
    for _ in range(300):
        push(queue, Entry("n", NORMAL))
    served = flows_of([queue.pop(0.0) for _ in range(100)])
    assert 55 <= served.count("n") <= 65


def test_a_light_flow_beside_a_heavy_one_gets_its_part():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(2000):
        push(queue, Entry("h", cost=10.0))
        push(queue, Entry("l", cost=990.0))
    served = flows_of([queue.pop(0.0) for _ in range(1500)])
    assert all("l" in served[i : i + 200] for i in range(1300))
    assert served.count("l") <= 17


def test_an_entry_that_waited_a_minute_counts_one_class_up():
    queue: FairQueue[Entry] = FairQueue()
    push(queue, Entry("old", NORMAL), now=0.0)
    for _ in range(5):
        push(queue, Entry("h", HIGH), now=59.0)
    push(queue, Entry("n", NORMAL), now=59.0)
    assert queue.peek(59.9).flow == "h"
    assert "old" in [queue.pop(60.0).flow for _ in range(2)]


def test_age_lifts_by_one_class_at_most():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(300):
        push(queue, Entry("bulk", LOW, 10.0), now=0.0)
        push(queue, Entry("chat", URGENT, 10.0), now=9000.0)
    served = [queue.pop(9000.0).flow for _ in range(200)]
    assert served.count("chat") >= 130


def test_age_changes_the_choice_though_nothing_else_happened():
    queue: FairQueue[Entry] = FairQueue()
    push(queue, Entry("old", HIGH, 100.0), now=0.0)
    push(queue, Entry("old", HIGH, 100.0), now=0.0)
    queue.pop(0.0)
    for _ in range(4):
        push(queue, Entry("u", URGENT, 100.0), now=50.0)
    queue.pop(50.0)
    assert queue.peek(51.0).flow == "u"
    assert queue.peek(60.0).flow == "old"


def test_aged_entries_leave_their_flow_in_order():
    queue: FairQueue[Entry] = FairQueue()
    entries = [push(queue, Entry("a", LOW), now=float(i)) for i in range(10)]
    for i in range(10):
        push(queue, Entry("n", NORMAL), now=float(i))
    gone = [e for e in drained(queue, 65.0) if e.flow == "a"]
    assert list(map(id, gone)) == list(map(id, entries))


def test_a_discarded_entry_never_comes():
    queue: FairQueue[Entry] = FairQueue()
    entries = [push(queue, Entry("a")) for _ in range(3)]
    queue.discard(entries[0])
    queue.discard(entries[0])
    assert len(queue) == 2
    assert list(map(id, drained(queue))) == list(map(id, entries[1:]))


def test_an_entry_waits_once_at_a_time():
    queue: FairQueue[Entry] = FairQueue()
    entry = push(queue, Entry("a"))
    with pytest.raises(ValueError, match="waits already"):
        push(queue, entry)


def test_what_cost_more_than_expected_is_paid_later():
    queue: FairQueue[Entry] = FairQueue()
    for _ in range(30):
        push(queue, Entry("a", cost=10.0))
        push(queue, Entry("b", cost=10.0))
    queue.pop(0.0)
    queue.correct("a", NORMAL, 100.0)
    served = flows_of([queue.pop(0.0) for _ in range(20)])
    assert served.count("b") - served.count("a") >= 9


def test_correcting_an_unknown_flow_is_harmless():
    queue: FairQueue[Entry] = FairQueue()
    queue.correct("nobody", LOW, 5.0)
    push(queue, Entry("a", LOW))
    assert queue.pop(0.0).flow == "a"


def test_idle_flows_leave_nothing_behind():
    queue: FairQueue[Entry] = FairQueue()
    for i in range(5000):
        push(queue, Entry(f"flow {i}", cost=float(i % 7)), now=float(i))
        queue.pop(float(i))
    home = queue._by_priority[NORMAL]
    assert (
        max(
            len(home.flows), len(home.tenants), len(home.order.heap), len(home.arrivals)
        )
        < 300
    )


def test_discarded_entries_leave_nothing_behind():
    queue: FairQueue[Entry] = FairQueue()
    push(queue, Entry("a"))
    for _ in range(5000):
        queue.discard(push(queue, Entry("a")))
        queue.discard(push(queue, Entry("b")))
    home = queue._by_priority[NORMAL]
    assert (
        max(len(home.order.heap), len(home.arrivals), len(home.flows["a"].line)) < 300
    )


@pytest.mark.slow
@given(st.randoms(use_true_random=False), st.floats(1, 200), st.floats(1, 200))
def test_two_equal_tenants_are_served_alike(random, a_most, b_most):
    a_costs = [random.uniform(1, a_most) for _ in range(80)]
    b_costs = [random.uniform(1, b_most) for _ in range(80)]
    queue: FairQueue[Entry] = FairQueue()
    for a, b in zip(a_costs, b_costs, strict=True):
        push(queue, Entry("a", cost=a))
        push(queue, Entry("b", cost=b))
    served = Counter()
    left = Counter({"a": 80, "b": 80})
    largest = max(a_costs + b_costs)
    while left["a"] and left["b"]:
        entry = queue.pop(0.0)
        served[entry.flow] += entry.cost
        left[entry.flow] -= 1
        assert abs(served["a"] - served["b"]) <= 2 * largest + 1e-6


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "front", "pop", "discard", "correct"]),
        st.sampled_from("abc"),
        st.sampled_from(list(Priority)),
        st.floats(0, 100),
        st.floats(0, 30),
    ),
    max_size=120,
)


class Play:
    """A queue beside plain lists of what should be in it."""

    def __init__(self) -> None:
        self.queue: FairQueue[Entry] = FairQueue()
        self.lines: dict[tuple[str, Priority], deque[Entry]] = {}
        self.now = 0.0

    def step(self, what: str, flow: str, priority: Priority, cost: float) -> None:
        line = self.lines.setdefault((flow, priority), deque())
        if what in ("push", "front"):
            entry = Entry(flow, priority, cost)
            push(self.queue, entry, self.now, front=what == "front")
            (line.appendleft if what == "front" else line.append)(entry)
        elif what == "pop":
            self.pop()
        elif what == "correct":
            self.queue.correct(flow, priority, cost - 50)
        elif line:
            self.queue.discard(line.pop())
        assert len(self.queue) == sum(map(len, self.lines.values()))

    def pop(self) -> None:
        seen = self.queue.peek(self.now)
        entry = self.queue.pop(self.now)
        assert entry is seen
        if entry is None:
            assert not any(self.lines.values())
        else:
            assert self.lines[entry.flow, entry.priority].popleft() is entry


@pytest.mark.slow
@given(STEPS)
def test_whatever_happens_each_entry_comes_once_and_in_its_flows_order(steps):
    play = Play()
    for what, flow, priority, cost, pause_s in steps:
        play.now += pause_s
        play.step(what, flow, priority, cost)
    for _ in range(len(play.queue)):
        play.pop()
    assert len(play.queue) == 0
