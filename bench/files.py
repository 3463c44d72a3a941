"""Start-up, validation and memory of `headrace run` over small and large files.

The large run is stopped by SIGINT after half a minute of calls: all its lines are
validated and stored by then, and the backlog is at its largest. BENCH_FULL=1 lets it end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from http_calls import provider
from measure import REPEATS, median, table

SMALL, LARGE = 10_000, int(os.environ.get("BENCH_LINES", "1000000"))
_CALLING_S = 30.0


def _spawn(
    command: Sequence[str], stop_after_s: float | None = None
) -> tuple[float, float]:
    """Run a command; return seconds on the clock and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if stop_after_s is not None:
        try:
            process.wait(stop_after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    _, status, usage = (
        os.wait4(process.pid, 0) if process.poll() is None else (0, 0, None)
    )
    wall_s = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) in (0, 3), command
    return wall_s, (usage.ru_maxrss / 1024 if usage else 0.0)


def _write(path: Path, lines: int) -> None:
    with path.open("w") as file:
        for i in range(lines):
            file.write(
                f'{{"custom_id":"r{i}","method":"POST","url":"/v1/chat/completions",'
                '"body":{"model":"m","messages":[{"role":"user","content":'
                f'"Say something about the number {i}."}}]}}}}\n'
            )


def main() -> None:
    headrace = [sys.executable, "-m", "headrace"]
    helps = [_spawn([*headrace, "--help"])[0] for _ in range(max(5, REPEATS))]
    rows = [["`headrace --help`", f"{median(helps):.2f} s", ""]]
    with (
        tempfile.TemporaryDirectory() as name,
        provider("--latency", "constant:0.01") as url,
    ):
        folder = Path(name)
        for lines in (SMALL, LARGE):
            source = folder / f"{lines}.jsonl"
            _write(source, lines)
            wall_s, peak_mb = _spawn([*headrace, "check", str(source)])
            rows.append(
                [
                    f"`headrace check`, {lines:,} lines",
                    f"{wall_s:.1f} s",
                    f"{peak_mb:.0f}",
                ]
            )
            run = [*headrace, "run", str(source), "-o", str(folder / f"{lines}.out")]
            run += ["--store", str(folder / f"{lines}.db"), "--base-url", url]
            full = lines == SMALL or "BENCH_FULL" in os.environ
            stop_after_s = None if full else _CALLING_S + 15
            wall_s, peak_mb = _spawn([*run, "--in-flight", "200"], stop_after_s)
            what = "whole" if full else "stopped"
            rows.append(
                [
                    f"`headrace run`, {lines:,} lines, {what}",
                    f"{wall_s:.1f} s",
                    f"{peak_mb:.0f}",
                ]
            )
    table("Start-up, files and memory", ["command", "time", "peak MB"], rows)


if __name__ == "__main__":
    main()
