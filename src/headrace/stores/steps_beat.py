"""One beat of an owner's heart: each function is one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.errors import StoreError
from headrace.jobs import JobState
from headrace.stores import statements_jobs as of_jobs
from headrace.stores.schema import SCHEMA_VERSION
from headrace.stores.statement import Query, Steps


def renew(epoch: int, lease_s: float) -> Steps[bool]:
    """Extend a lease that has not run out; False if it has.

    Raises:
        StoreError: another program has migrated the database meanwhile.
    """
    rows = yield Query(of_jobs.schema_version)
    if [row[0] for row in rows] != [SCHEMA_VERSION]:
        raise StoreError(
            "another version of Headrace has changed the tables of the store; "
            "end this process and use that version"
        )
    return bool((yield Query(of_jobs.renew_owner, {"of": epoch, "for_s": lease_s})))


def states(epoch: int) -> Steps[Mapping[int, JobState]]:
    """Return the state of each job in which this owner holds items."""
    rows = yield Query(of_jobs.held_jobs, {"of": epoch})
    return {number: JobState(state) for number, state in rows}
