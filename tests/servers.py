"""Real servers for tests, each in a scratch folder and stopped by its own pid."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER_USER = "postgres"


def free_port() -> int:
    """Return a port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs; without one the test is skipped."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    if on_path is None:
        pytest.skip("no PostgreSQL here: install the package postgresql")
    return Path(on_path).resolve().parent


def _as_server_user(*command: str) -> list[str]:
    """PostgreSQL refuses to run as root; a plain user runs it as himself."""
    if os.geteuid() != 0:
        return list(command)
    return ["runuser", "-u", SERVER_USER, "--", *command]


def _run(*command: str) -> None:
    done = subprocess.run(
        _as_server_user(*command), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def _needs_server_user() -> None:
    if os.geteuid() != 0:
        return
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        pytest.skip(
            f"PostgreSQL needs the user {SERVER_USER} when the tests run as root"
        )


class PostgresServer:
    """A PostgreSQL server in a folder of its own."""

    def __init__(self) -> None:
        self._programs = postgres_binaries()
        _needs_server_user()
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-pg-", dir="/tmp"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, SERVER_USER)
        self._port = free_port()
        self._data = str(self._folder / "data")
        initdb = str(self._programs / "initdb")
        _run(initdb, "-A", "trust", "--no-sync", "-D", self._data)

    @property
    def address(self) -> str:
        """The server's address, without a database's name."""
        is_root = os.geteuid() == 0
        user = SERVER_USER if is_root else pwd.getpwuid(os.geteuid()).pw_name
        return f"postgresql://{user}@127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (
            f"-c listen_addresses=127.0.0.1 -p {self._port} "
            f"-k {self._folder} -c fsync=off"
        )
        self._control("-o", options, "-l", str(self._folder / "log"), "-w", "start")

    def crash(self) -> None:
        """Stop it as kill -9 would: it comes up again through its log."""
        self._control("-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """Forget its folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        # pg_ctl signals the pid that stands in this folder's postmaster.pid
        _run(str(self._programs / "pg_ctl"), "-D", self._data, *arguments)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server, and stop and remove it in the end."""
    server = PostgresServer()
    try:
        server.start()
        try:
            yield server
        finally:
            server.crash()
    finally:
        server.remove()
