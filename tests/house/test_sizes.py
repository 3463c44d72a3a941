"""Files, functions and the whole package stay small enough to be read."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "headrace"
FILE_LINES = 400
FUNCTION_LINES = 50
PACKAGE_LINES = 36_000
"""Raised in the open: docs/design.md, "Size", says what takes the room."""
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    return sorted(
        path
        for folder in ("src", "bench", "scripts")
        for path in (ROOT / folder).rglob("*.py")
    )


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Give every string that stands alone, as docstrings do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def lines_of(node: Function, *, is_command: bool) -> int:
    """Return the lines of a function without its docstring.

    Of a command only its body counts: its signature is the list of its options.
    """
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    inside = (node.end_lineno or 0) - body[0].lineno + 1
    return inside if is_command else inside + node.body[0].lineno - node.lineno


def lines_of_code(text: str) -> int:
    """Return how many lines hold code: no blanks, comments and docstrings."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    for said in docstrings(ast.parse(text)):
        found.difference_update(range(said.lineno, (said.end_lineno or 0) + 1))
    return len(found)


@pytest.mark.parametrize(
    "path", sources(), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= FILE_LINES
    is_command = "cli" in path.parts
    counts = {
        node.name: lines_of(node, is_command=is_command)
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }
    long = {name: count for name, count in counts.items() if count > FUNCTION_LINES}
    assert long == {}


@pytest.mark.slow
def test_the_whole_package_is_small() -> None:
    counts = [
        lines_of_code(path.read_text())
        for path in PACKAGE.rglob("*.py")
        if "migrations" not in path.parts
    ]
    assert sum(counts) <= PACKAGE_LINES


def test_only_lines_of_code_are_counted() -> None:
    text = '"""Says\nwhat."""\n\n# why\nx = (1,\n     2)\n\n\ndef f():\n    """Is."""\n'
    assert lines_of_code(text) == 3
