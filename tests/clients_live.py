"""Clients of others, which stand in environments of their own: `make clients`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shell_live import Served, clean_environment

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "var" / "clients"
HERE = Path(__file__).parent / "clients"


def need_command(name: str) -> str:
    """Return where a command of this machine is; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def clients_python() -> Path:
    """Return the Python that has langchain-openai and llm."""
    python = CLIENTS / "venv" / "bin" / "python"
    if not (CLIENTS / ".python").exists():
        pytest.skip(
            "langchain-openai and llm are not here: `make clients` fetches them"
        )
    return python


def link_node_modules(folder: Path) -> None:
    """Let scripts in a folder import the packages of npm."""
    need_command("node")
    if not (CLIENTS / ".node").exists():
        pytest.skip("openai from npm is not here: `make clients` fetches it")
    (folder / "node_modules").symlink_to(CLIENTS / "node" / "node_modules")


def client_environment(served: Served, key: str) -> dict[str, str]:
    """Return an environment as the documents of the official clients want it."""
    ours = {"OPENAI_BASE_URL": f"{served.url}/v1", "OPENAI_API_KEY": key}
    return clean_environment() | ours


def succeeded(
    command: list[str],
    *,
    folder: Path,
    environment: dict[str, str],
    within_s: float = 50,
) -> str:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def made_key(folder: Path) -> str:
    """Make a key of a service that will be started in a folder."""
    command = [sys.executable, "-m", "headrace", "keys", "add", "--tenant", "search"]
    printed = succeeded(command, folder=folder, environment=clean_environment())
    return printed.split()[0]
