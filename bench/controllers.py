"""Every controller of calls in flight on every shipped scenario, on virtual time.

Prints the page docs/controllers.md. Times and shares do not depend on the machine.
"""

from __future__ import annotations

import math
import os
from statistics import fmean, median

from headrace.simulation.rehearsal import find_benchmarks, rehearse
from headrace.simulation.trial import Trial
from headrace.simulation.trial_file import load_shipped, shipped

SEEDS = int(os.environ.get("BENCH_SEEDS", "1"))
CONTROLLERS: tuple[int | str, ...] = ("auto", "aimd", "throughput", 32)

HEAD = """# Controllers compared

What each controller of calls in flight makes of each shipped scenario, simulated
through the real gate: `python bench/controllers.py > docs/controllers.md`.

Each cell: throughput as a share of the best fixed limit's · time until 95 % of it, in
mean durations of a call · share of the calls sent that the server refused.

- *Best fixed* is the limit that somebody who knew the server would state; each share is
  measured against it. It needs 2 to 2.5 durations itself.
- `32` is a limit stated by somebody who does not know the server.
- `auto+throughput` and other pairs hold the lowest of the two, so no pair is quicker
  than its slower part.
- `cpu` is not here: it heeds the load of this machine, and a simulation has none. On an
  idle machine it grows until something else stops it.
- Shares are of the second half of a run (or of each phase, where a server changes), so
  the start shows in the time alone. `never` = not within the scenario. A share above
  100 % is chance, or a server that answers quicker than the best of its first phase.
- Scenarios of rates: the rate is what limits there, and the controller must not harm.
"""


def main() -> None:
    """Print the page."""
    print(HEAD)
    names = [f"`{controller}`" for controller in CONTROLLERS]
    print("| scenario | best fixed | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 2))
    for name in shipped():
        print(_row(load_shipped(name)), flush=True)
    print(f"\nSeeds: {SEEDS}; of several, the median of each figure.")


def _row(trial: Trial) -> str:
    seeds = range(1, SEEDS + 1)
    known = {seed: find_benchmarks(trial, seed) for seed in seeds}
    cells = [trial.name, ", ".join(str(found.in_flight) for found in known[1])]
    for controller in CONTROLLERS:
        limited = trial.with_in_flight(controller)
        runs = [rehearse(limited, seed, known[seed]).measures for seed in seeds]
        cells.append(_cell(runs))
    return "| " + " | ".join(cells) + " |"


def _cell(runs: list[dict[str, float]]) -> str:
    share = median(fmean(_phases(run, "utilisation")) for run in runs)
    t95 = median(_phases(run, "t95")[0] for run in runs)
    refused = median(run["refused_share"] for run in runs)
    reached = f"{t95:.1f}" if math.isfinite(t95) else "never"
    return f"{100 * share:.0f} % · {reached} · {100 * refused:.2g} %"


def _phases(run: dict[str, float], measure: str) -> list[float]:
    """Return a measure of each phase, or the one of a run without phases."""
    return [
        value
        for name, value in run.items()
        if name == measure
        or (name.startswith("phase") and name.endswith(f".{measure}"))
    ]


if __name__ == "__main__":
    main()
