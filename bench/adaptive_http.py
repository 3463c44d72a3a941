"""How near `--in-flight auto` comes, from cold, to the best fixed limit over HTTP.

    python bench/adaptive_http.py [ITEMS]

`headrace provider --cap 64` and `headrace run` are processes of their own; every run
has a provider and a store of its own. The floor is the cap as a stated limit. A share
of its throughput counts whole runs, start-up and the last calls included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measure import REPEATS, median, table

CAP = 64
ITEMS = 12_000
SEEDS = min(REPEATS, 3)
HEADRACE = [sys.executable, "-m", "headrace"]
LATENCIES = {
    "0.25 s, cv 0.5": "lognormal:0.25:0.5",
    "0.25 s, always": "constant:0.25",
    "0.25 s, cv 1": "lognormal:0.25:1",
}


def prompts(path: Path, items: int) -> None:
    """Write the input of a run."""
    lines = (f'{{"prompt": "River {n}?", "max_tokens": 8}}\n' for n in range(items))
    path.write_text("".join(lines))


def run(folder: Path, latency: str, in_flight: str, seed: int) -> tuple[float, float]:
    """Run all items once; return the seconds, and the share of calls refused."""
    command = [*HEADRACE, "provider", "--cap", str(CAP), "--latency", latency]
    command += ["--seed", str(seed), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline().split()[1])
            elapsed_s = _run(folder, port, in_flight)
            refused = _refused(port)
        finally:
            server.terminate()
    return elapsed_s, refused


def _run(folder: Path, port: int, in_flight: str) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        command = [*HEADRACE, "run", str(folder / "in.jsonl"), "--model", "any"]
        command += ["-o", f"{own}/out.jsonl", "--store", f"{own}/headrace.db"]
        command += ["--base-url", f"http://127.0.0.1:{port}", "--in-flight", in_flight]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def _refused(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stats") as answer:
        stats = json.load(answer)
    return float(sum(stats["refused"].values())) / stats["calls"]


def main() -> None:
    items = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts(folder / "in.jsonl", items)
        for title, latency in LATENCIES.items():
            seeds = range(1, SEEDS + 1)
            # Turn by turn: what else the machine does then meets both.
            pairs = [
                [run(folder, latency, way, seed) for way in (str(CAP), "auto")]
                for seed in seeds
            ]
            share = median([fixed[0] / auto[0] for fixed, auto in pairs])
            rows.append(
                [
                    title,
                    f"{items / median([fixed[0] for fixed, _ in pairs]):,.0f}",
                    f"{items / median([auto[0] for _, auto in pairs]):,.0f}",
                    f"{share:.1%}",
                    f"{max(auto[1] for _, auto in pairs):.2%}",
                ]
            )
    table(
        f"`auto` from cold against `--cap {CAP}`, {items:,} items, {SEEDS} runs",
        ["latency", "items/s at the cap", "items/s by auto", "share", "refused (most)"],
        rows,
    )


if __name__ == "__main__":
    main()
