"""The page of the reference that tells of the public Python names."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any

from reference_words import fenced, table

import headrace
from headrace.library import Options
from headrace.simulation.provider import SimulatedProvider
from headrace.simulation.scenario import Scenario
from headrace.simulation.upstream import Upstream
from headrace.simulation.virtual import VirtualClock, run_virtual

_FOR_TESTS = (run_virtual, VirtualClock, Scenario, Upstream, SimulatedProvider)
_MADE_BY_OTHERS = (headrace.Headrace, headrace.JobHandle)
_INNER = ("look", "committed", "mark", "wait_change")
"""Methods of `Headrace` that its own parts call."""
_MODULE = re.compile(r"\b(?:headrace|typing|collections\.abc)\.(?:[a-z_]+\.)*(?=[A-Z])")
_WIDTH = 88


def python_page() -> Iterator[str]:
    """Give the page, line by line."""
    yield "# Python"
    yield ""
    yield "All of these are imported from `headrace`."
    for name in headrace.__all__:
        yield ""
        thing = getattr(headrace, name)
        yield from _described(f"headrace.{name}", thing)
        yield from _members_of(name, thing)
        if name == "stream":
            yield ""
            yield "The options of `stream` and `run`:"
            yield ""
            yield from fenced(text_of(Options))
    yield ""
    yield "# For tests"
    yield ""
    yield "The simulated provider in process, and time that leaps."
    for thing in _FOR_TESTS:
        yield ""
        yield from _described(f"{thing.__module__}.{thing.__name__}", thing)


def text_of(thing: Any) -> str:
    """Return a docstring."""
    return inspect.getdoc(thing) or ""


def _described(name: str, thing: Any) -> Iterator[str]:
    yield f"## `{name}`"
    yield ""
    if thing not in _MADE_BY_OTHERS and not _is_exception(thing):
        yield from fenced(_signature(name.rpartition(".")[2], thing), "python")
        yield ""
    yield from fenced(text_of(thing))
    if rows := _fields(thing):
        yield ""
        yield from table(("Field", "Meaning"), rows)


def _members_of(name: str, thing: Any) -> Iterator[str]:
    if not inspect.isclass(thing) or issubclass(thing, Enum) or _is_exception(thing):
        return
    for member_name, member in vars(thing).items():
        target = getattr(member, "__func__", member)
        wanted = inspect.isfunction(target) or isinstance(target, property)
        if not wanted or member_name.startswith("_") or member_name in _INNER:
            continue
        yield ""
        yield f"### `{name}.{member_name}`"
        yield ""
        if not isinstance(target, property):
            yield from fenced(_signature(member_name, target), "python")
            yield ""
        if text := text_of(target):
            yield from fenced(text)


def _is_exception(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, Exception)


def _fields(thing: Any) -> list[tuple[str, ...]]:
    """Return the fields that are described one by one, with their words."""
    if not inspect.isclass(thing) or not hasattr(thing, "__struct_fields__"):
        return []
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows = []
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(after, ast.Expr):
            continue
        if isinstance(after.value, ast.Constant):
            words = " ".join(str(after.value.value).split())
            rows.append((f"`{ast.unparse(field.target)}`", words))
    return rows


def _signature(name: str, thing: Any) -> str:
    if inspect.isclass(thing) and issubclass(thing, Enum):
        return f"{name}: {', '.join(str(each.name) for each in thing)}"
    found = inspect.signature(thing)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    shown = [_parameter(p) for p in parameters]
    keyword = [p.kind is p.KEYWORD_ONLY for p in parameters]
    if any(keyword):
        shown.insert(keyword.index(True), "*")
    ends = found.return_annotation
    tail = f" -> {_plain(ends)}"
    if ends is found.empty or inspect.isclass(thing):
        tail = ""
    start = f"async {name}" if inspect.iscoroutinefunction(thing) else name
    line = f"{start}({', '.join(shown)}){tail}"
    if len(line) <= _WIDTH:
        return line
    inside = "".join(f"    {each},\n" for each in shown)
    return f"{start}(\n{inside}){tail}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    shown = stars.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        shown += f": {_plain(parameter.annotation)}"
    return shown + _default(parameter.default)


def _plain(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if inspect.isclass(annotation) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return _MODULE.sub("", str(annotation))


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, Enum):
        return f" = {type(value).__name__}.{value.name}"
    if not isinstance(value, (str, int, float, bool, tuple, type(None))):
        return " = …"
    return f" = {value!r}"
