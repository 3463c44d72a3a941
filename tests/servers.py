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


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a PostgreSQL server, and yield its address without a database's name."""
    programs = postgres_binaries()
    _needs_server_user()
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, SERVER_USER)
    user = SERVER_USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    data, port = folder / "data", free_port()
    control = str(programs / "pg_ctl")
    try:
        initdb = str(programs / "initdb")
        _run(initdb, "-A", "trust", "--no-sync", "-D", str(data))
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        log = str(folder / "log")
        _run(control, "-D", str(data), "-o", options, "-l", log, "-w", "start")
        try:
            yield f"postgresql://{user}@127.0.0.1:{port}"
        finally:
            # pg_ctl signals the pid that stands in this folder's postmaster.pid
            _run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
