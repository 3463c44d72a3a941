"""`auto` from cold over HTTP, beside the best fixed limit, against a cap of 64.

`headrace run` whole, with its start, against a simulated provider in a process of its
own that takes 64 calls at once and refuses the 65th. Goal: at least 95 % of the best
fixed limit's throughput, and at most 0.5 % refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from http_calls import provider
from measure import median, table

CAP = 64
CALLS = int(os.environ.get("BENCH_CALLS", "12800"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))
LATENCY = "lognormal:0.2:0.5"


def main() -> None:
    """Print the table."""
    fixed = [_run(str(CAP)) for _ in range(REPEATS)]
    auto = [_run("auto") for _ in range(REPEATS)]
    best_s = median([took_s for took_s, _ in fixed])
    rows = [
        _line(name, runs, best_s)
        for name, runs in ((f"fixed, {CAP}", fixed), ("`auto`, from cold", auto))
    ]
    table(
        f"{CALLS:,} calls over HTTP, a server that takes {CAP} at once",
        ("limit", "calls/s", "of the best", "refused", "refused %"),
        rows,
    )


def _line(name: str, runs: list[tuple[float, int]], best_s: float) -> tuple[str, ...]:
    took_s = median([took_s for took_s, _ in runs])
    refused = median([float(refused) for _, refused in runs])
    return (
        name,
        f"{CALLS / took_s:,.0f}",
        f"{100 * best_s / took_s:.1f} %",
        f"{refused:.0f}",
        f"{100 * refused / (CALLS + refused):.2f} %",
    )


def _run(in_flight: str) -> tuple[float, int]:
    """Run all calls once; return the seconds and the calls refused."""
    with (
        tempfile.TemporaryDirectory() as folder,
        provider("--cap", str(CAP), "--latency", LATENCY) as base_url,
    ):
        place = Path(folder)
        _write(place / "in.jsonl")
        command = [sys.executable, "-m", "headrace", "run", "in.jsonl"]
        command += ["-o", "out.jsonl", "--store", "jobs.db"]
        command += ["--base-url", base_url, "--in-flight", in_flight]
        begun = time.perf_counter()
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        took_s = time.perf_counter() - begun
        lines = (place / "out.jsonl").read_bytes().count(b"\n")
        assert lines == CALLS, f"{lines} of {CALLS} calls were answered"
        with urllib.request.urlopen(f"{base_url}/_stats") as reply:
            stats = json.load(reply)
    return took_s, sum(stats["refused"].values())


def _write(path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Say something."}]}
    with path.open("w") as file:
        for i in range(CALLS):
            line = {
                "custom_id": f"c{i}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
