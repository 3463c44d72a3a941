"""HTTP calls through `headrace run`, durable on SQLite, beside bare aiohttp.

Both call the same simulated provider, which answers after 50 ms and runs in a process
of its own. Processor time is that of the client alone. `headrace run` is measured whole
(start, validation, store, output files) and net of its start (a run of one line).
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import uvloop

from measure import REPEATS, median, table

CALLS = int(os.environ.get("BENCH_CALLS", "40000"))
IN_FLIGHT = 500
_BODY = {"model": "m", "messages": [{"role": "user", "content": "Say something."}]}


@contextmanager
def provider(*flags: str) -> Iterator[str]:
    """Run the simulated provider; give its base URL."""
    command = [sys.executable, "-m", "headrace", "provider", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}"
        finally:
            process.terminate()


async def _bare(base_url: str, calls: int) -> None:
    left = iter(range(calls))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for i in left:
                body = {**_BODY, "user": str(i)}
                url = f"{base_url}/v1/chat/completions"
                async with session.post(url, json=body) as response:
                    assert response.status == 200
                    await response.read()

        await asyncio.gather(*[work() for _ in range(IN_FLIGHT)])


def bare_main(base_url: str, calls: int) -> None:
    """The floor, in a process of its own: prints seconds on the clock and processor."""
    start, cpu = time.perf_counter(), time.process_time()
    uvloop.run(_bare(base_url, calls))
    print(time.perf_counter() - start, time.process_time() - cpu)


def _bare_run(base_url: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "bare", base_url, str(CALLS)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall_s, cpu_s = out.split()
    return float(wall_s), float(cpu_s)


def _headrace_run(base_url: str, calls: int, folder: Path) -> tuple[float, float]:
    lines = folder / f"in-{calls}.jsonl"
    with lines.open("w") as file:
        for i in range(calls):
            line = {
                "custom_id": f"r{i}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {**_BODY, "user": str(i)},
            }
            file.write(json.dumps(line) + "\n")
    out = folder / f"out-{calls}-{time.monotonic_ns()}.jsonl"
    command = [sys.executable, "-m", "headrace", "run", str(lines), "-o", str(out)]
    command += ["--base-url", base_url, "--in-flight", str(IN_FLIGHT)]
    command += ["--store", str(folder / f"{out.stem}.db")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert out.read_bytes().count(b"\n") == calls
    return wall_s, cpu_s


def main() -> None:
    figures: dict[str, list[tuple[float, float]]] = {"bare": [], "whole": [], "net": []}
    with (
        tempfile.TemporaryDirectory() as name,
        provider("--latency", "constant:0.05") as url,
    ):
        folder = Path(name)
        for _ in range(REPEATS):
            figures["bare"].append(_bare_run(url))
            start = _headrace_run(url, 1, folder)
            whole = _headrace_run(url, CALLS, folder)
            figures["whole"].append(whole)
            figures["net"].append((whole[0] - start[0], whole[1] - start[1]))
    names = {
        "bare": "bare aiohttp, 500 workers",
        "whole": "`headrace run`, whole command",
        "net": "`headrace run`, without its start",
    }
    rates = {k: CALLS / median([w for w, _ in v]) for k, v in figures.items()}
    cpus = {k: median([c for _, c in v]) / CALLS * 1e6 for k, v in figures.items()}
    table(
        f"HTTP, {CALLS:,} chat calls, {IN_FLIGHT} in flight, upstream 50 ms",
        ["client", "calls/s", "of bare", "CPU µs a call", "of bare"],
        [
            [
                text,
                f"{rates[key]:,.0f}",
                f"{rates[key] / rates['bare']:.2f}",
                f"{cpus[key]:.0f}",
                f"{cpus[key] / cpus['bare']:.2f}",
            ]
            for key, text in names.items()
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        bare_main(sys.argv[2], int(sys.argv[3]))
    else:
        main()
