"""What the documents point to is there: files, headings, commands, flags, tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from headrace.cli.exits import Exit
from headrace.cli.main import app

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(r"(?<!from )(?<![\w./-])headrace ([a-z]+)(?: ([a-z]+))?")
PAGE = re.compile(r"`(docs/[\w/-]+\.md)`")
TEST_FILE = re.compile(r"\b(?:tests|src|scripts|bench)/[\w/.-]*\.(?:py|sh)\b")
OTHERS_FLAGS = {"--preserve-status"}
"""Flags of programs that are not ours."""


def documents() -> list[Path]:
    """Return every document that users and contributors read."""
    found = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
    return found + sorted((ROOT / "docs").rglob("*.md"))


every_document = pytest.mark.parametrize(
    "path", documents(), ids=lambda path: str(path.relative_to(ROOT))
)


def anchors(path: Path) -> set[str]:
    """Return the names of a document's headings, as the usual renderers make them."""
    text = FENCE.sub("", path.read_text())
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def commands() -> dict[str, Any]:
    """Return every command by its name, those of a group as `group name`."""
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = dict(root.commands)
    for name, group in root.commands.items():
        for child, command in getattr(group, "commands", {}).items():
            found[f"{name} {child}"] = command
    return found


def code_in(text: str) -> Iterator[str]:
    """Give all that is set as code."""
    yield from FENCE.findall(text)
    yield from CODE.findall(FENCE.sub("", text))


@every_document
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCE.sub("", path.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        if anchor:
            assert anchor in anchors(place), target


@every_document
def test_every_flag_named_exists(path: Path) -> None:
    known = {"--help", "--version"} | OTHERS_FLAGS
    for command in commands().values():
        for parameter in command.params:
            known.update(parameter.opts, parameter.secondary_opts)
    for code in code_in(path.read_text()):
        assert set(FLAG.findall(code)) <= known, code


@every_document
def test_every_command_named_exists(path: Path) -> None:
    known = commands()
    for code in code_in(path.read_text()):
        for name, child in COMMAND.findall(code):
            assert name in known, code
            if child and hasattr(known[name], "commands"):
                assert f"{name} {child}" in known, code


@every_document
def test_a_command_is_shown_only_with_flags_of_its_own(path: Path) -> None:
    for line in lines_of_commands(path.read_text()):
        for name, child in COMMAND.findall(line):
            command = commands().get(f"{name} {child}") or commands()[name]
            own = {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))
            after = line.partition(f"headrace {name}")[2]
            assert set(FLAG.findall(after)) <= own, line


def lines_of_commands(text: str) -> Iterator[str]:
    """Give each whole command that starts a line of an example."""
    for code in FENCE.findall(text):
        whole = code.replace("\\\n", " ")
        for line in re.findall(r"^\$ (.*headrace [a-z].*)$", whole, re.MULTILINE):
            yield re.split(r"[|&;]", line[line.index("headrace ") :])[0]


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = FENCE.sub("", page.read_text())
        ahead += [ROOT / name for name in PAGE.findall(text) if (ROOT / name).is_file()]
        names = [target.partition("#")[0] for target in LINK.findall(text)]
        ahead += [
            (page.parent / name).resolve()
            for name in names
            if name and "://" not in name
        ]
    assert set(documents()) <= seen


def test_the_guide_to_exit_codes_tells_of_each() -> None:
    text = (ROOT / "docs" / "how-to" / "exit-codes.md").read_text()
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert told == [int(code) for code in Exit]


@every_document
def test_every_source_file_named_exists(path: Path) -> None:
    for name in TEST_FILE.findall(path.read_text()):
        assert (ROOT / name).is_file(), name
