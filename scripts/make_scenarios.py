"""Write docs/scenarios.md and its pictures anew: every shipped scenario, run and drawn.

The same sources give the same files on every machine; takes about two minutes.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from headrace.simulation.picture import draw
from headrace.simulation.report import Finding, report_on
from headrace.simulation.trial_file import load_shipped, shipped

DOCS = Path(__file__).parent.parent / "docs"

HEAD = """# Scenarios

What Headrace makes of servers of many kinds, simulated: the real gate, retries and
breakers, on virtual time. `headrace simulate --list` names the scenarios,
`headrace simulate NAME --plot picture.svg` runs and draws one, and
`headrace simulate mine.yaml` runs one of your own. This page is written by
`python scripts/make_scenarios.py`.

Each picture shows the limit of calls in flight, the calls in flight, calls refused a
second, and calls answered a second. The dashed line is the best fixed limit: what
somebody who knew the server would have stated. Times in `t95` are in mean durations of
a call. [Every controller on every scenario](controllers.md) is a table of its own.

## A scenario of your own

```yaml
about: Hard cap of 64, answers of 5 s.
upstream: {latency: "lognormal:5:0.5", cap: 64}  # the keys of `headrace provider`
duration_s: 500
expect:
  utilisation: {min: 0.95}
```

`headrace simulate` exits with 1 if something is not as expected, so scenarios serve as
tests. `limits` takes `in_flight`, `max_in_flight`, `rpm`, `tpm`; `workload` takes the
number, the arrival and the priority of calls; several servers are named under
`upstreams`. An unknown key is answered with those that are allowed.

## Where Headrace is weak

The ranges of these scenarios say what it does now, not what one would wish for:

- **knee**: where calls only become slower above a level, and steeply, the number of
  calls doubles past it before the first slow call has ended. State `max_in_flight` for
  such a server: **knee_ceiling** shows the same one with 96.
- **slope**: a refusal for too quick a rise is taken for a limit per minute, which then
  grows slowly.
- **shared_quota** and **rate_wrong_headers**: a refusal lowers the limit to what we used
  of it, though others used a part too, so about half of what is free is used.
- **restart**: after an outage one call probes the server, and while it is slow from the
  cold start nothing else goes.
"""


def main() -> int:
    """Write all; return 1 if something is not as its scenario expects."""
    (DOCS / "pictures").mkdir(exist_ok=True)
    parts, wrong = [HEAD], list[str]()
    for name in shipped():
        report = report_on(load_shipped(name))
        draw(report.rehearsals[0], DOCS / "pictures" / f"{name}.svg")
        rows = [_row(f) for f in report.findings if f.expected is not None]
        wrong += [
            f"{name}: {f.measure} {f.value}" for f in report.findings if not f.is_ok
        ]
        parts.append(
            f"\n## {name}\n\n{report.trial.about}\n\n"
            "| measure | value | expected |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
            f"![{report.trial.about}](pictures/{name}.svg)\n"
        )
    (DOCS / "scenarios.md").write_text("".join(parts))
    print("\n".join(wrong) or "all as expected")
    return 1 if wrong else 0


def _row(finding: Finding) -> str:
    expected = finding.expected
    assert expected is not None
    low, high = _shown(expected.min), _shown(expected.max)
    if math.isinf(expected.min):
        text = f"at most {high}"
    elif math.isinf(expected.max):
        text = f"at least {low}"
    else:
        text = f"{low} to {high}"
    return f"| {finding.measure} | {_shown(finding.value)} | {text} |"


def _shown(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.4g}"


if __name__ == "__main__":
    sys.exit(main())
