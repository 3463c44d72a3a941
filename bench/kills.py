"""Kills `headrace serve` with SIGKILL in each state of a batch, and counts what is left.

python bench/kills.py [--lines 50000] [--kills 20] [--state STATE …] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from http_calls import provider
from killing import STATES, Findings, Killing, Service
from measure import median, table

LONGEST_S = {
    "validating": 0.8,
    "in_progress": 3.0,
    "finalizing": 0.4,
    "cancelling": 0.6,
}
"""From a state's beginning to a kill, at most, with 50,000 lines."""


def course(states: list[str], kills: int, lines: int, seed: int) -> Findings:
    """Kill one service so often in each of these states of its batches."""
    with (
        tempfile.TemporaryDirectory() as folder,
        provider("--latency", "constant:0.02") as upstream,
    ):
        service = Service(Path(folder), upstream)
        share = lines / 50_000
        longest_s = {state: each_s * share for state, each_s in LONGEST_S.items()}
        killing = Killing(service, lines, random.Random(seed), longest_s)
        return killing.run(states, kills)


def main() -> int:
    """Kill, print a table, and return 1 if anything was wrong."""
    given = argparse.ArgumentParser()
    given.add_argument("--lines", type=int, default=50_000)
    given.add_argument("--kills", type=int, default=20)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--state", action="append", choices=STATES)
    asked = given.parse_args()
    rows, faults = [], 0
    for state in asked.state or STATES:
        began_at = time.monotonic()
        found = course([state], asked.kills, asked.lines, asked.seed)
        faults += len(found.faults)
        for fault in found.faults:
            print(f"{state}: {fault}")
        went_on = f"{median(found.went_on_s):.1f}" if found.went_on_s else ""
        cells = (found.kills[state], found.missed, found.lines, found.calls)
        rows.append([state, *(f"{n:,}" for n in cells)])
        rows[-1] += [str(found.poisoned), went_on, str(len(found.faults))]
        rows[-1].append(f"{time.monotonic() - began_at:.0f}")
    head = ("killed while", "kills", "too late", "lines", "calls", "poisoned")
    head += ("went on after, s", "faults", "took, s")
    table(f"SIGKILL of the service, {asked.lines:,} lines a batch", head, rows)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
