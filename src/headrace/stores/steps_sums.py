"""What adds up over items and jobs: each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.jobs import Spent, Trouble
from headrace.stores import statements_sums as of_sums
from headrace.stores.itemstates import item_key
from headrace.stores.spending import usd_of
from headrace.stores.statement import Query, Steps

TROUBLES: Final = 100
"""Kinds of failure that are told of one job."""


def troubles(job: int) -> Steps[list[Trouble]]:
    """Return the failed tries of a job by endpoint and code."""
    first, last = item_key(job, 0), item_key(job + 1, 0) - 1
    given = {"first": first, "last": last, "limit": TROUBLES}
    rows = yield Query(of_sums.troubles, given)
    return [Trouble(*row) for row in rows]


def spent(tenant: str) -> Steps[Spent]:
    """Return what the jobs of a tenant have spent."""
    rows = yield Query(of_sums.spent, {"tenant": tenant})
    input_tokens, output_tokens, cost_nano = map(int, rows[0])
    return Spent(input_tokens, output_tokens, usd_of(cost_nano))


def queued(routes: Sequence[str] | None) -> Steps[int]:
    """Return how many items wait to be leased."""
    if routes is None:
        rows = yield Query(of_sums.queued)
    else:
        rows = yield Query(of_sums.queued_of, {"routes": list(routes)})
    return int(rows[0][0])
