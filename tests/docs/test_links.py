"""What the documents point to is there: files, headings, commands, flags, tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from headrace.cli.main import app

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(r"(?<!from )(?<![\w./-])headrace ([a-z]+)(?: ([a-z]+))?")
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
def test_every_source_file_named_exists(path: Path) -> None:
    for name in TEST_FILE.findall(path.read_text()):
        assert (ROOT / name).is_file(), name
