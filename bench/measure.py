"""What every benchmark here shares: medians, processor time, a table."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Run `work` once; return seconds on the clock and of this process's processor."""
    cpu = used_cpu_s()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start, used_cpu_s() - cpu


def used_cpu_s() -> float:
    """Return the seconds of a processor that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_rss_mb() -> float:
    """Return the largest memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def quantile_ms(values_s: Sequence[float], share: float) -> float:
    """Return what this share of some seconds is not above, in ms; `share` by thousandths."""
    return statistics.quantiles(values_s, n=1_000)[round(share * 1_000) - 1] * 1_000


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n## {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()
