"""Splits the room for leased items among the jobs that have work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from headrace.jobs import Flow
from headrace.model import Priority

SHARES = {
    Priority.LOW: 10,
    Priority.NORMAL: 15,
    Priority.HIGH: 25,
    Priority.URGENT: 50,
}
"""Shares when all priorities wait; docs/design.md, "Model"."""


_Group = tuple[Priority, str]
"""Jobs of one priority and tenant; they count alike."""


def allot(room: int, flows: Sequence[Flow], turn: int) -> list[tuple[int, int]]:
    """Return how many items to lease of each job, most urgent first.

    Priorities get their shares, those that do not wait lend theirs; within a priority
    tenants count alike, and so do the jobs of one tenant.

    Args:
        room: items to lease in all, >= 0.
        flows: jobs with queued items.
        turn: grows by one each time, so that remainders go round.

    Returns:
        Pairs of `Job.number` and a count > 0; the counts add up to `room` (0 if there
        are no flows).

    Invariant: over many turns each flow gets its share within one item a turn.
    """
    groups = [(flow.priority, flow.tenant) for flow in flows]
    weights = _weights(groups)
    total = sum(weight * count for weight, count in weights.values())
    if not total or room <= 0:
        return []
    exact = {group: room * weight / total for group, (weight, _) in weights.items()}
    whole = {group: int(share) for group, share in exact.items()}
    counts = {f.job: whole[group] for f, group in zip(flows, groups, strict=True)}
    missing = room - sum(counts.values())
    start = turn % len(flows)
    even = {group for group, share in exact.items() if share == whole[group]}
    last = []
    for at in (*range(start, len(flows)), *range(start)):
        if missing == 0:
            break
        if groups[at] in even:
            last.append(flows[at].job)
            continue
        counts[flows[at].job] += 1
        missing -= 1
    for job in last[:missing]:
        counts[job] += 1
    return [(f.job, counts[f.job]) for f in flows if counts[f.job]]


class Room(msgspec.Struct, frozen=True):
    """How many items may be leased."""

    free: int
    """Of any kind, >= 0."""
    window: int
    """Held at once of one priority and those above it."""
    held: Mapping[Priority, int]
    """Leased items that have not ended, by priority."""


def claims(room: Room, flows: Sequence[Flow], turn: int) -> list[tuple[int, int]]:
    """Return how many items to lease of each job, as `allot`, urgent ones beyond it.

    What is held of lower priorities takes no room from the highest that has work: it
    overtakes them.

    Invariant: of each priority and those above it, no more than `window` are held, but
    for what `free` allows.
    """
    counts = dict(allot(room.free, flows, turn))
    top = max((flow.priority for flow in flows), default=Priority.LOW)
    above = sum(count for priority, count in room.held.items() if priority >= top)
    if above < sum(room.held.values()):
        urgent = [flow for flow in flows if flow.priority == top]
        above += sum(counts.get(flow.job, 0) for flow in urgent)
        for job, count in allot(max(0, room.window - above), urgent, turn):
            counts[job] = counts.get(job, 0) + count
    return [(flow.job, counts[flow.job]) for flow in flows if counts.get(flow.job)]


def _weights(groups: Sequence[_Group]) -> dict[_Group, tuple[Fraction, int]]:
    """Return each job's part of its tenant's part of its priority's share.

    And how many jobs have that part: there may be thousands, of a few tenants.
    """
    jobs = Counter(groups)
    tenants = Counter(priority for priority, _ in jobs)
    return {
        (priority, tenant): (
            Fraction(SHARES[priority], tenants[priority] * count),
            count,
        )
        for (priority, tenant), count in jobs.items()
    }
