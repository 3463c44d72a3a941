"""A large file uploaded to `headrace serve`, and validated as a batch's input.

The floor of the upload is a bare FastAPI route with `UploadFile` that copies it to disk;
that of validation reads the lines and decodes the JSON of each, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

import uvloop
from fastapi import FastAPI, UploadFile

from http_calls import provider
from measure import table
from processes import cpu_s, serve_app, service, started
from wire import Wire

MB = int(os.environ.get("BENCH_MB", "500"))
LINE_BYTES = 500
_URL = "/v1/chat/completions"
_KIND = "multipart/form-data; boundary=b"
_PART = "--b\r\nContent-Disposition: form-data; name="
_HEAD = (
    f'{_PART}"purpose"\r\n\r\nbatch\r\n'
    f'{_PART}"file"; filename="in.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n'
).encode()
_TAIL = b"\r\n--b--\r\n"


def serve_bare() -> None:
    """Be the floor, until killed."""
    app = FastAPI()

    @app.post("/v1/files")
    async def upload(file: UploadFile) -> dict[str, int]:
        size = 0
        with open("bare.jsonl", "wb") as kept:  # noqa: ASYNC230  the floor
            while piece := await file.read(2**20):
                size += kept.write(piece)
            os.fsync(kept.fileno())
        return {"id": size}

    serve_app(app)


def bare() -> AbstractContextManager[tuple[str, int]]:
    """Run the floor; give its address and process id."""
    return started(str(Path(__file__).resolve()), "bare")


def make_input(path: Path) -> int:
    """Write a batch's input; return how many lines it has."""
    text = "Say something long. " * (LINE_BYTES // 20)
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    line = {"custom_id": "request-00000000", "method": "POST", "url": _URL}
    fits = LINE_BYTES - len(json.dumps({**line, "body": body})) - 1
    body["messages"] = [{"role": "user", "content": text[:fits]}]
    first, _, rest = json.dumps({**line, "body": body}).partition("00000000")
    count = MB * 1_000_000 // LINE_BYTES
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            file.writelines(
                f"{first}{n:08}{rest}\n" for n in range(start, start + 10_000)
            )
    return count


def memory_mb(pid: int, field: str) -> float:
    """Return `VmRSS` or `VmHWM` (the most so far) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


async def upload(url: str, path: Path) -> tuple[float, str]:
    """Upload the file; return the seconds it took, and its id."""
    wire = await Wire.to(url)
    size = len(_HEAD) + path.stat().st_size + len(_TAIL)  # noqa: ASYNC240
    start = time.perf_counter()
    wire.writer.write(wire.head("POST", "/v1/files", size, _KIND) + _HEAD)
    with path.open("rb") as file:
        while piece := file.read(2**20):
            wire.writer.write(piece)
            await wire.writer.drain()
    wire.writer.write(_TAIL)
    made = json.loads(await wire.answer())
    wire.close()
    return time.perf_counter() - start, str(made["id"])


async def validate(url: str, file: str, lines: int) -> float:
    """Begin a batch; return the seconds until all lines are checked and stored."""
    wire = await Wire.to(url)
    new = {"input_file_id": file, "endpoint": _URL, "completion_window": "24h"}
    start = time.perf_counter()
    batch = await wire.post("/v1/batches", new)
    while batch["status"] == "validating":
        await asyncio.sleep(0.05)
        batch = await wire.get(f"/v1/batches/{batch['id']}")
    took_s = time.perf_counter() - start
    wire.close()
    assert batch["status"] == "in_progress", batch
    assert batch["request_counts"]["total"] == lines
    return took_s


def decode_all(path: Path) -> None:
    """Be the floor of validation."""
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        lines = make_input(path)

        def row(name: str, took_s: float, used_s: float, grown: str) -> None:
            cells = [f"{took_s:.1f}", f"{MB / took_s:,.0f}", f"{lines / took_s:,.0f}"]
            rows.append([name, *cells, f"{used_s:.1f}", f"{MB / used_s:,.0f}", grown])

        with bare() as (url, pid):
            took_s, _ = uvloop.run(upload(url, path))
            row("upload, bare FastAPI", took_s, cpu_s(pid), "")
        before = time.process_time()
        start = time.perf_counter()
        decode_all(path)
        took_s = time.perf_counter() - start
        row("json.loads of each line", took_s, time.process_time() - before, "")
        with (
            provider("--latency", "constant:600") as upstream,
            service(upstream, "--in-flight", "1") as (url, pid),
        ):
            rss = memory_mb(pid, "VmRSS")
            used_s = cpu_s(pid)
            took_s, file = uvloop.run(upload(url, path))
            grown = f"{memory_mb(pid, 'VmHWM') - rss:.0f}"
            row("upload, `headrace serve`", took_s, cpu_s(pid) - used_s, grown)
            used_s = cpu_s(pid)
            took_s = uvloop.run(validate(url, file, lines))
            grown = f"{memory_mb(pid, 'VmHWM') - rss:.0f}"
            row("validate and store", took_s, cpu_s(pid) - used_s, grown)
    table(
        f"A file of {MB} MB, {lines:,} lines",
        ("what", "s", "MB/s", "lines/s", "CPU s", "MB for a CPU s", "MB more at most"),
        rows,
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        serve_bare()
    else:
        main()
