"""How many calls a second the simulated provider serves on one core.

    python bench/provider.py [SECONDS]

A raw client in this process keeps 300 connections busy; the server runs in another.
The floor is a server that answers every read with the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from measure import REPEATS, median, table

CONNECTIONS = 300
BODY = (
    b'{"model":"m","messages":[{"role":"user","content":"How does a headrace bring '
    b'water to the wheel of a mill?"}],"max_tokens":32}'
)
SERVER = "import typer; from headrace.cli.provider import provider; typer.run(provider)"
RATES = ["--latency", "lognormal:0.05", "--rpm", "1e8", "--tpm", "1e10"]
FLOOR = """
import asyncio, uvloop
class Floor(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER)
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 360\\r\\n\\r\\n" + b" " * 360
async def main():
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


class Client(asyncio.Protocol):
    """Sends the next request as soon as the whole answer has come."""

    def __init__(self, number: int) -> None:
        self.answers = 0
        self._number = number
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        if len(body) >= length:
            assert head.startswith(b"HTTP/1.1 200"), head
            self._buffer = body[length:]
            self.answers += 1
            self._send()

    def _send(self) -> None:
        self._transport.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\n"
            b"X-Client-Request-Id: bench-%d-1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b"
            % (self._number + self.answers * CONNECTIONS, len(BODY), BODY)
        )


async def load(port: int, seconds: float) -> tuple[int, float]:
    """Return the answers, and the seconds they took."""
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda n=n: Client(n), "127.0.0.1", port)  # type: ignore[misc]
        for n in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    before = sum(client.answers for _, client in pairs)
    await asyncio.sleep(seconds)
    answers = sum(client.answers for _, client in pairs) - before
    elapsed_s = time.perf_counter() - began
    for transport, _ in pairs:
        transport.abort()
    return answers, elapsed_s


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(code: str, flags: list[str], seconds: float) -> tuple[float, float]:
    """Return calls a second, and microseconds of the server's CPU a call."""
    command = [sys.executable, "-c", code, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[1])
        before_s = cpu_s(server.pid)
        answers, elapsed_s = uvloop.run(load(port, seconds))
        used_s = cpu_s(server.pid) - before_s
        server.terminate()
    return answers / elapsed_s, used_s / answers * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    cases = {
        "floor: fixed bytes": (FLOOR, []),
        "no latency": (SERVER, ["--latency", "constant:0"]),
        "lognormal:0.05": (SERVER, ["--latency", "lognormal:0.05"]),
        "lognormal:0.05, rates": (
            SERVER,
            RATES,
        ),
        "the same, sliding log": (
            SERVER,
            [*RATES, "--rate-model", "sliding_log"],
        ),
    }
    rows = []
    for name, (code, flags) in cases.items():
        rounds = [measure(code, flags, seconds) for _ in range(REPEATS)]
        calls = median([pair[0] for pair in rounds])
        cpu_us = median([pair[1] for pair in rounds])
        rows.append((name, f"{calls:.0f}", f"{cpu_us:.1f}", f"{1e6 / cpu_us:.0f}"))
    table(
        f"Simulated provider, {CONNECTIONS} connections",
        ("server", "calls/s", "CPU us a call", "calls a CPU second"),
        rows,
    )


if __name__ == "__main__":
    main()
