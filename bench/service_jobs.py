"""Small jobs submitted over HTTP, and how soon a busy service says how they stand.

The floor of submitting is a bare FastAPI route that reads the same body and keeps it by
one insert into SQLite, each committed on its own. The client is a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import uvloop
from fastapi import FastAPI, Request

from http_calls import provider
from measure import quantile_ms, table
from processes import cpu_s, serve_app, service, started
from wire import Wire

JOBS = int(os.environ.get("BENCH_JOBS", "3000"))
CLIENTS = 16
RUNNING = int(os.environ.get("BENCH_RUNNING", "5000"))
"""Calls under way while the service is asked how its jobs stand."""
ASKED_PER_S = 100
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
_BODY = {"model": "m", "messages": [{"role": "user", "content": "Say something."}]}
_URL = "/v1/chat/completions"
_ITEM = {"custom_id": "a", "method": "POST", "url": _URL, "body": _BODY}
_JOB = json.dumps([_ITEM]).encode()
_SUBMIT = "/api/v1/jobs"


def serve_bare() -> None:
    """Be the floor, until killed."""
    app = FastAPI()
    database = sqlite3.connect("bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body BLOB)")

    @app.post(_SUBMIT)
    async def submit(request: Request) -> dict[str, Any]:
        body = await request.body()
        made = database.execute("INSERT INTO bare (body) VALUES (?)", (body,))
        return {"id": made.lastrowid, "items": len(json.loads(body))}

    serve_app(app)


def bare() -> AbstractContextManager[tuple[str, int]]:
    """Run the floor; give its address and process id."""
    return started(str(Path(__file__).resolve()), "bare")


async def submit(url: str) -> tuple[float, list[float]]:
    """Submit all jobs, as fast as they are taken; return a second's, and their times."""
    left, times = iter(range(JOBS)), []

    async def work() -> None:
        wire = await Wire.to(url)
        for _ in left:
            start = time.perf_counter()
            await wire.ask("POST", _SUBMIT, _JOB)
            times.append(time.perf_counter() - start)
        wire.close()

    began_at = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(CLIENTS)])
    return JOBS / (time.perf_counter() - began_at), times


def submitted(name: str, url: str, pid: int) -> list[str]:
    """Return a row of the table of submissions."""
    before = cpu_s(pid)
    per_s, times = uvloop.run(submit(url))
    used_us = (cpu_s(pid) - before) / JOBS * 1e6
    cells = (f"{per_s:,.0f}", f"{used_us:,.0f}", f"{1e6 / used_us:,.0f}")
    return [
        name,
        *cells,
        f"{quantile_ms(times, 0.5):.1f}",
        f"{quantile_ms(times, 0.99):.1f}",
    ]


def submitting() -> None:
    rows = []
    with bare() as (url, pid):
        rows.append(submitted("bare FastAPI and SQLite", url, pid))
    for name, latency in (("jobs wait", "600"), ("jobs run", "0.02")):
        with (
            provider("--latency", f"constant:{latency}") as upstream,
            service(upstream, "--in-flight", "64") as (url, pid),
        ):
            rows.append(submitted(f"`headrace serve`, {name}", url, pid))
    table(
        f"Submit of {JOBS:,} jobs of one item over HTTP, {CLIENTS} clients",
        ("server", "jobs/s", "CPU us a job", "for a core", "median ms", "p99 ms"),
        rows,
    )


async def _upload(wire: Wire, lines: int) -> str:
    """Upload a batch's input; return the file's id."""
    each = [json.dumps({**_ITEM, "custom_id": f"{n}"}) for n in range(lines)]
    head = "--b\r\nContent-Disposition: form-data; name="
    parts = f'{head}"purpose"\r\n\r\nbatch\r\n{head}"file"; filename="in.jsonl"\r\n\r\n'
    body = f"{parts}{chr(10).join(each)}\r\n--b--\r\n".encode()
    kind = "multipart/form-data; boundary=b"
    wire.writer.write(wire.head("POST", "/v1/files", len(body), kind) + body)
    return str(json.loads(await wire.answer())["id"])


async def ask_while_busy(url: str) -> dict[str, list[float]]:
    """Run a batch and a job; return how long each kind of question took meanwhile."""
    wire = await Wire.to(url)
    file = await _upload(wire, RUNNING * 4)
    new = {"input_file_id": file, "endpoint": _URL, "completion_window": "24h"}
    batch = await wire.post("/v1/batches", new)
    job = await wire.post(_SUBMIT, [_ITEM])
    paths = {
        "job": f"{_SUBMIT}/{job['id']}",
        "batch": f"/v1/batches/{batch['id']}",
        "list of jobs": _SUBMIT,
        "list of batches": "/v1/batches",
        "health": "/health/ready",
    }
    for _ in range(600):
        stats = await wire.get("/api/v1/system/stats")
        if stats["in_flight"] >= RUNNING * 0.99:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError(stats)
    await asyncio.sleep(1)  # until all of them are connected
    times: dict[str, list[float]] = {name: [] for name in paths}
    began_at, asked = time.perf_counter(), 0
    while (now := time.perf_counter()) < began_at + SECONDS:
        for name, path in paths.items():
            start = time.perf_counter()
            await wire.ask("GET", path)
            times[name].append(time.perf_counter() - start)
        asked += len(paths)
        await asyncio.sleep(max(0.0, began_at + asked / ASKED_PER_S - now))
    wire.close()
    return times


def asking() -> None:
    rows = []
    for latency in ("lognormal:10:0.5", "constant:10"):
        flags = ("--in-flight", str(RUNNING), "--max-in-flight", str(RUNNING))
        with (
            provider("--latency", latency) as upstream,
            service(upstream, *flags) as (url, _),
        ):
            times = uvloop.run(ask_while_busy(url))
        for name, found in times.items():
            cells = [quantile_ms(found, share) for share in (0.5, 0.99)]
            rows.append([latency, name, *(f"{ms:.1f}" for ms in cells)])
    table(
        f"Status calls while {RUNNING:,} items run",
        ("latency of the upstream", "what is asked", "median ms", "p99 ms"),
        rows,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        serve_bare()
    else:
        submitting()
        asking()
