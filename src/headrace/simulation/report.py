"""Runs a scenario over its seeds and holds the outcome against what is expected."""

from __future__ import annotations

import math

import msgspec

from headrace.simulation.measures import medians
from headrace.simulation.rehearsal import Rehearsal, rehearse
from headrace.simulation.trial import Range, Trial

_ALWAYS_SHOWN = (
    "utilisation",
    "t95",
    "refused",
    "refused_share",
    "peak_in_flight",
    "p50_s",
    "p99_s",
    "makespan_s",
    "succeeded",
    "failed",
)


class Finding(msgspec.Struct, frozen=True):
    """One measure of a scenario: the median over its seeds."""

    measure: str
    value: float
    expected: Range | None

    @property
    def is_ok(self) -> bool:
        """Is it as expected? What nobody expects anything of always is."""
        return self.expected is None or self.expected.holds(self.value)


class Report(msgspec.Struct, frozen=True):
    """How a scenario went."""

    trial: Trial
    rehearsals: tuple[Rehearsal, ...]
    """One for each seed."""
    findings: tuple[Finding, ...]
    """What is expected first, in the order of the file."""

    @property
    def is_ok(self) -> bool:
        """Is everything as expected?"""
        return all(finding.is_ok for finding in self.findings)


def report_on(trial: Trial, seeds: int | None = None) -> Report:
    """Run a scenario once for each seed, from 1 on; as many as it says, or `seeds`."""
    count = seeds or trial.seeds
    rehearsals = tuple(rehearse(trial, seed) for seed in range(1, count + 1))
    found = medians([rehearsal.measures for rehearsal in rehearsals])
    shown = [*trial.expect]
    shown += [
        name
        for name in found
        if name.rpartition(".")[2] in _ALWAYS_SHOWN
        and name not in shown
        and _is_of_interest(trial, name, found[name])
    ]
    return Report(
        trial,
        rehearsals,
        tuple(
            Finding(name, found.get(name, math.nan), trial.expect.get(name))
            for name in shown
        ),
    )


def _is_of_interest(trial: Trial, name: str, value: float) -> bool:
    """Does a measure that nobody expects anything of say something?"""
    part = name.rpartition(".")[0]
    if math.isnan(value):
        return False
    if part and not part.startswith("phase"):
        return len(trial.workload) > 1 and name.endswith("makespan_s")
    return True
