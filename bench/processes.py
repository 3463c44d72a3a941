"""Servers that benchmarks start: `headrace serve`, and floors to hold it against."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application on a free port while the block lasts; give its address."""
    config = uvicorn.Config(
        app, port=0, access_log=False, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn tells nobody
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


def serve_app(app: FastAPI) -> None:
    """Serve a floor until killed; print `ready URL` once it answers."""

    async def main() -> None:
        async with serving(app) as url:
            print(f"ready {url}", flush=True)
            await asyncio.Event().wait()

    uvloop.run(main())


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, int]]:
    """Run a server by this Python in a folder of its own; give address and process id.

    What it tells people is shown only if it does not start.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "told").open("w+") as told,
        subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            cwd=folder,
            env={**os.environ, "TMPDIR": folder},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().split()
            if not ready:
                told.seek(0)
                raise RuntimeError(told.read())
            yield ready[1], process.pid
        finally:
            process.terminate()


@contextmanager
def service(upstream: str, *flags: str) -> Iterator[tuple[str, int]]:
    """Run `headrace serve` in front of an upstream; give its address and process id."""
    command = ("-m", "headrace", "serve", "--port", "0", "--base-url", upstream)
    with started(*command, *flags) as running:
        yield running


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
