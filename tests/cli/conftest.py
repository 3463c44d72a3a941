"""The real command in a process of its own, against the simulated provider."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

COMMAND = (sys.executable, "-m", "headrace")


def clean_environment():
    """Return the environment without what would set a run of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
    kept.pop("OPENAI_API_KEY", None)
    return kept


@contextlib.contextmanager
def serving(*flags):
    """Run a simulated provider; give its address."""
    with subprocess.Popen(
        [*COMMAND, "provider", "--port", "0", *flags],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        word, port = process.stdout.readline().split()
        assert word == "ready"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class Place:
    """A folder in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name):
        return self.folder / name

    def start(self, *args, env=None, **options):
        """Start a command; the caller waits for it."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen(
            [*COMMAND, *map(str, args)],
            cwd=self.folder,
            env=clean_environment() | (env or {}),
            text=True,
            **streams,
        )

    def call(self, *args, env=None, stdin=None):
        """Run a command to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, args)],
            cwd=self.folder,
            env=clean_environment() | (env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    def write(self, name, *lines):
        """Write lines, each an object or text."""
        rows = [each if isinstance(each, str) else json.dumps(each) for each in lines]
        (self / name).write_text("".join(f"{row}\n" for row in rows))
        return name

    def ask(self, name, count, model="m"):
        """Write a file of requests."""
        return self.write(name, *(request(f"r{i}", model) for i in range(count)))

    def ids(self, name):
        """Return the custom ids of an output file, sorted."""
        return sorted(row["custom_id"] for row in self.rows(name))

    def rows(self, name):
        return [json.loads(row) for row in (self / name).read_text().splitlines()]


def request(name, model="m", **body):
    """Return one batch line."""
    messages = [{"role": "user", "content": f"hello {name}"}]
    return {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": messages, "max_tokens": 8, **body},
    }


def statistics(url):
    """Return what a simulated provider has counted."""
    with urlopen(f"{url}/_stats") as answer:
        return json.load(answer)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="session")
def fast():
    """A provider that always answers at once."""
    with serving("--latency", "constant:0.001") as url:
        yield url


@pytest.fixture(scope="session")
def slow():
    """A provider whose answers take a while."""
    with serving("--latency", "constant:0.3") as url:
        yield url


@pytest.fixture
def provider():
    """Runs simulated providers with the flags given."""
    return serving
