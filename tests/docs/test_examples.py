"""Every example that the documents mark with `<!-- run … -->` runs as it stands.

The blocks of a document run in order in one folder. `headrace provider … --port N &` and
`headrace serve … --port N &` are started by the test on a free port, and N stands for
that port from there on.

    <!-- run -->                the block runs; each command ends with 0
    <!-- run, exit 3 -->        its last command ends with 3
    <!-- run, same output -->   it also prints the lines shown; numbers may differ
    <!-- run as work.py -->     a Python block, kept under that name
    <!-- keep as work.py -->    any block, kept and not run
    <!-- run with clients … --> the block needs npm's openai, LangChain or llm
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients_live import clients_python, link_node_modules
from servers import postgres_server

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^<!-- (?P<mark>(?:run|keep)\b[^>]*) -->\n+```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SERVER = re.compile(r"headrace (?:provider|serve) .*&$")
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
VARYING = re.compile(r"\(mean |^held by|^latency")
"""Lines whose very words depend on how busy the machine is."""
POSTGRES = "postgresql://localhost/headrace"
LONGEST_S = 50


@dataclass(frozen=True)
class Block:
    """One example."""

    mark: str
    language: str
    text: str

    @property
    def exit_code(self) -> int:
        found = re.search(r"exit (\d+)", self.mark)
        return int(found[1]) if found else 0

    @property
    def needs_clients(self) -> bool:
        return "with clients" in self.mark

    @property
    def kept_as(self) -> str | None:
        found = re.search(r"as (\S+)", self.mark)
        return found[1] if found else None


def blocks(path: Path) -> list[Block]:
    return [Block(**found.groupdict()) for found in BLOCK.finditer(path.read_text())]


def documents() -> Iterator[object]:
    """Give every document that has an example, with the marks its servers need."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if not blocks(path):
            continue
        marks = [pytest.mark.live, pytest.mark.slow]
        if any(POSTGRES in block.text for block in blocks(path)):
            marks.append(pytest.mark.postgres)
        if any(block.needs_clients for block in blocks(path)):
            marks.append(pytest.mark.timeout(150))  # they take long to start
        name = str(path.relative_to(ROOT))
        yield pytest.param(path, id=name, marks=marks)


class Place:
    """A folder, its environment, and the servers that were started in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._changes: dict[str, str] = {}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
        kept.pop("OPENAI_API_KEY", None)
        programs = Path(sys.executable).parent
        self._environment = kept | {"PATH": f"{programs}:{kept.get('PATH', '')}"}

    def run(self, block: Block) -> None:
        text = self._changed(block.text)
        if block.kept_as:
            (self.folder / block.kept_as).write_text(text)
        if block.mark.startswith("keep"):
            return
        if block.language == "python":
            name = block.kept_as or "example.py"
            (self.folder / name).write_text(text)
            self._expect([self._python(block), name], block.exit_code)
            return
        if block.language == "js":
            link_node_modules(self.folder)
            self._expect(["node", str(block.kept_as)], block.exit_code)
            return
        if block.needs_clients:
            self._put_on_path(clients_python().parent)
        steps = list(commands(text))
        for place, (command, shown) in enumerate(steps):
            code = block.exit_code if place == len(steps) - 1 else 0
            printed = self._step(command, code)
            if "same output" in block.mark:
                assert_shows(printed, shown)

    def _python(self, block: Block) -> str:
        return str(clients_python()) if block.needs_clients else sys.executable

    def _put_on_path(self, programs: Path) -> None:
        self._environment["PATH"] = f"{self._environment['PATH']}:{programs}"

    def _step(self, command: str, code: int) -> str:
        if SERVER.search(command):
            self._serve(command)
            return ""
        if command.startswith("export "):
            name = command.removeprefix("export ").partition("=")[0]
            told = self._expect(
                ["bash", "-c", f'{self._changed(command)}; printf %s "${name}"'], 0
            )
            self._environment[name] = told
            return ""
        return self._expect(["bash", "-c", self._changed(command)], code)

    def _expect(self, command: list[str], code: int) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def _serve(self, command: str) -> None:
        words = shlex.split(self._changed(command.removesuffix("&")))
        at = words.index("--port")
        named, words[at + 1] = words[at + 1], "0"
        server = subprocess.Popen(
            [sys.executable, "-m", *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self._environment,
        )
        self._stack.callback(server.wait)
        self._stack.callback(server.terminate)
        assert server.stdout is not None
        self._stack.callback(server.stdout.close)
        word, where = server.stdout.readline().split()
        assert word == "ready"
        port = where.rpartition(":")[2]
        self._changes[f"127.0.0.1:{named}"] = f"127.0.0.1:{port}"

    def _changed(self, text: str) -> str:
        if POSTGRES in text and POSTGRES not in self._changes:
            server = self._stack.enter_context(postgres_server())
            self._changes[POSTGRES] = f"{server.address}/postgres"
        for old, new in self._changes.items():
            text = text.replace(old, new)
        return text


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Give each command after a `$`, and the lines shown below it."""
    lines = iter(text.splitlines())
    command, shown = "", list[str]()
    for line in lines:
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if command:
            yield command, shown
        command, shown = line[2:], []
        while command.endswith("\\"):
            command = command[:-1] + next(lines).strip()
        if found := HERE_DOCUMENT.search(command):
            for row in lines:
                command += f"\n{row}"
                if row == found[1]:
                    break
    yield command, shown


def plain(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"\bjob_\w+", "JOB", line)
    line = re.sub(r"\b(?:batch_)?req_\w+|chatcmpl-\w+", "ID", line)
    line = re.sub(r"(?:/[\w.-]+)+/(?=[\w.-]+)", "", line)
    line = re.sub(r"\d[\d,.:]*(?: (?:ms|s|min|h)\b)?", "N", line)
    return " ".join(line.split())


def assert_shows(printed: str, shown: list[str]) -> None:
    """Every line shown is printed, in that order."""
    rest = iter([plain(line) for line in printed.splitlines()])
    for line in shown:
        if line.strip() and not VARYING.search(line):
            assert plain(line) in rest, f"{line!r} is not in what follows of\n{printed}"


@pytest.mark.parametrize("path", list(documents()))
def test_the_examples_run(path: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = Place(tmp_path, stack)
        for block in blocks(path):
            place.run(block)
