"""How long `headrace serve` takes until it answers, from an empty folder and again.

With bytecode of all modules at hand, as after an installation, and without. The floor
is a bare FastAPI application on uvicorn, started the same way.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request

from measure import REPEATS, median, table
from processes import cpu_s

_BARE = """
import asyncio, uvicorn, uvloop
from fastapi import FastAPI
app = FastAPI()

@app.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}

async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(f"ready http://127.0.0.1:{port}", flush=True)
    await serving

uvloop.run(main())
"""
_SERVE = [sys.executable, "-m", "headrace", "serve", "--port", "0"]
_SERVE += ["--base-url", "http://127.0.0.1:9/v1"]


def started(command: list[str], folder: str, environ: dict[str, str]) -> list[float]:
    """Start a server once; return the seconds to its first answer, and of processor."""
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env=environ,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{url}/health/live") as answer:
            answer.read()
        took_s = time.perf_counter() - start
        used_s = cpu_s(process.pid)
        process.terminate()
    return [took_s, used_s]


def row(name: str, command: list[str], environ: dict[str, str]) -> list[str]:
    """Start a server in empty folders; return its row."""
    found = []
    for n in range(REPEATS + 1):
        with tempfile.TemporaryDirectory() as folder:
            runs = [started(command, folder, environ) for _ in range(2)]
        if n:  # the first one warms the disk's cache, and writes the bytecode
            found.append([*runs[0], *runs[1]])
    return [name, *(f"{median(list(each)):.2f}" for each in zip(*found, strict=True))]


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        kept = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        none = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        none["PYTHONPYCACHEPREFIX"] = f"{cache}/none"
        rows = [
            row("bare FastAPI, bytecode", [sys.executable, "-c", _BARE], kept),
            row("`headrace serve`, bytecode", _SERVE, kept),
            row("bare FastAPI, no bytecode", [sys.executable, "-c", _BARE], none),
            row("`headrace serve`, no bytecode", _SERVE, none),
        ]
    head = ("server", "first start, s", "CPU s", "second start, s", "CPU s")
    table("From the start to the first answer", head, rows)


if __name__ == "__main__":
    main()
