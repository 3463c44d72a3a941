"""The real `headrace serve` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "headrace")


def clean_environment() -> dict[str, str]:
    """Return the environment without what would set a command of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
    kept.pop("OPENAI_API_KEY", None)
    return kept


class Served:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url


Serve = Callable[..., contextlib.AbstractContextManager[Served]]


@contextlib.contextmanager
def serving(
    folder: Path, *flags: str, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """Run a service in a folder."""
    with _started(["serve", "--port", "0", *flags], folder, env) as process:
        word, url = _ready(process)
        assert word == "ready"
        yield Served(process, url)


@contextlib.contextmanager
def providing(folder: Path, *flags: str) -> Iterator[str]:
    """Run a simulated provider; give its address."""
    with _started(["provider", "--port", "0", *flags], folder) as process:
        word, port = _ready(process)
        assert word == "ready"
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start services with the flags given, in a folder of the test."""
    return partial(serving, tmp_path)


@pytest.fixture
def provide(tmp_path: Path) -> Callable[..., Any]:
    """Start simulated providers with the flags given; give their address."""
    return partial(providing, tmp_path)


def _ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


@contextlib.contextmanager
def _started(
    args: list[str], folder: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *args],
        cwd=folder,
        env=clean_environment() | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
