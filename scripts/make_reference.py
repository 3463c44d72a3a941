"""Writes docs/reference from the code: commands, names, errors, settings, routes, metrics.

`--check` writes nothing and fails if a page differs from what stands there.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import typer.main
from reference_http import http_page, metrics_page
from reference_python import python_page, text_of
from reference_words import CODE_WORDS, EXIT_WORDS, SETTING_WORDS, fenced, table

from headrace.cli.exits import Exit, exit_code
from headrace.cli.main import app
from headrace.config.section import RUN, SERVE, Section
from headrace.errors import (
    CallError,
    ErrorCode,
    HeadraceError,
    PermanentError,
    TransientError,
)
from headrace.model import Retry
from headrace.policies.retry import RetryAfter, decide, verdict_of
from headrace.simulation.scenario import Outage, Scenario, SlowStart

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
_NOTE = "<!-- Written by scripts/make_reference.py; change the code, not this page. -->"


def pages() -> dict[str, str]:
    """Return each page of the reference by its file name."""
    makers: dict[str, Callable[[], Iterator[str]]] = {
        "cli.md": cli_page,
        "python.md": python_page,
        "errors.md": errors_page,
        "settings.md": settings_page,
        "http.md": http_page,
        "metrics.md": metrics_page,
    }
    return {
        name: "\n".join([_NOTE, "", *make()]).rstrip() + "\n"
        for name, make in makers.items()
    }


# ---- commands


def commands() -> dict[str, Any]:
    """Return each command that does something, by its full name."""
    found: dict[str, Any] = {}

    def collect(prefix: str, command: Any) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found[prefix] = command
            return
        for name, child in children.items():
            collect(f"{prefix} {name}", child)

    collect("headrace", typer.main.get_command(app))
    return found


def flags_of(command: Any) -> Iterator[Any]:
    """Give the parameters of a command that are flags."""
    return (p for p in command.params if p.opts[0].startswith("-"))


def cli_page() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "What each exit code means stands in [errors](errors.md#exit-codes)."
    for name, command in commands().items():
        yield ""
        yield f"## `{name}`"
        yield ""
        yield "```"
        yield " ".join([name, *_arguments(command), "[OPTIONS]"])
        yield "```"
        yield ""
        yield inspect.cleandoc(command.help or "")
        yield ""
        yield from _parameters(command)


def _arguments(command: Any) -> list[str]:
    return [_shape(p) for p in command.params if not p.opts[0].startswith("-")]


def _parameters(command: Any) -> Iterator[str]:
    yield from table(
        ("Option", "Meaning"),
        [(_flag_cell(param), param.help or "") for param in command.params],
    )


def _flag_cell(param: Any) -> str:
    if not param.opts[0].startswith("-"):
        return f"`{_shape(param)}`"
    names = sorted((*param.opts, *param.secondary_opts), key=lambda name: -len(name))
    value = "" if getattr(param, "is_flag", False) else f" {_shape(param)}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _shape(param: Any) -> str:
    return str(param.metavar or param.name.upper())


# ---- errors


def errors_page() -> Iterator[str]:
    yield "# Errors and exit codes"
    yield ""
    yield "## Exit codes"
    yield ""
    yield from table(
        ("Code", "Name", "Meaning", "What to do next"),
        [(str(int(e)), f"`{e.name}`", *EXIT_WORDS[e]) for e in Exit],
    )
    yield ""
    yield "## Error codes of a call"
    yield ""
    yield "They stand in `Outcome.failure.code`, in the errors file, in `headrace jobs`"
    yield "and in the events of `--json`. *Tried again* says what happens by itself."
    yield ""
    yield from table(
        ("Code", "Meaning", "Tried again", "What to do next"),
        [(f"`{c}`", CODE_WORDS[c][0], _again(c), CODE_WORDS[c][1]) for c in ErrorCode],
    )
    yield ""
    yield "`invalid_line` stands in the errors file for a line of the input that was left"
    yield "out by `--skip-bad-lines`."
    yield ""
    yield "## Exceptions"
    yield ""
    doc = sys.modules[HeadraceError.__module__].__doc__ or ""
    yield from fenced(doc.split("```")[1].strip("\n"))
    yield ""
    yield "What each leads to when a command meets it:"
    yield ""
    yield from table(
        ("Exception", "Meaning", "Exit code"),
        [
            (f"`{kind.__name__}`", _first_line(kind), _exit_of(kind))
            for kind in _kinds(HeadraceError)
        ],
    )


def _again(code: ErrorCode) -> str:
    error = _error_of(code)
    once = decide(error, Retry(), 1, 0.5, None, repeatable=True)
    if not isinstance(once, RetryAfter):
        return "no"
    words = "yes" if once.spends_attempt else "yes, spends no attempt"
    if verdict_of(error).needs_repeatable:
        words += "; only repeatable calls"
    return words


def _error_of(code: ErrorCode) -> Any:
    """Return an error of the class that bears this code."""
    for kind in _kinds(CallError):
        if kind.default_code is code and kind not in (CallError, PermanentError):
            return kind("", code=code)
    return TransientError("", code=code)


def _kinds(root: Any) -> Iterator[Any]:
    """Give an error of `errors.py` and those below it; others are no one's to catch."""
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == HeadraceError.__module__:
            yield from _kinds(kind)


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def _exit_of(kind: Any) -> str:
    code = exit_code(kind.__new__(kind))
    return "" if code is Exit.BUG else str(int(code))


# ---- settings


def settings_page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "A flag goes before an environment variable, and that before `headrace.toml` in"
    yield "the working directory. Unknown keys and variables are refused."
    yield ""
    yield "## `headrace run` and `headrace check`"
    yield ""
    yield "Keys stand in the table `[run]` of `headrace.toml`; `store` may also stand"
    yield "above it."
    yield ""
    yield from _setting_table(RUN)
    yield ""
    yield "In a variable `base_url` is separated by commas, and `header` has one a line."
    yield "In `headrace.toml` both are lists."
    yield ""
    yield "## `headrace serve`"
    yield ""
    yield "Keys stand in the table `[serve]` of `headrace.toml`; a `store` above the tables"
    yield "and `HEADRACE_STORE` count here, too."
    yield ""
    yield from _setting_table(SERVE)
    yield ""
    yield from _keys_and_scenarios()


def _keys_and_scenarios() -> Iterator[str]:
    yield "## Keys of the provider"
    yield ""
    yield "They never stand on the command line, in `headrace.toml` or in the store. The"
    yield "first that is set is taken: the variable named by `--api-key-env`;"
    yield "`HEADRACE_API_KEY`; the file named by `HEADRACE_API_KEY_FILE`; with the dialects"
    yield "openai and azure also `OPENAI_API_KEY`. The dialect http and addresses of this"
    yield "machine go without a key."
    yield ""
    yield "## Scenario of `headrace provider`"
    yield ""
    yield "A file given by `--scenario` holds these keys as YAML; flags go before it."
    for kind in (Scenario, SlowStart, Outage):
        yield ""
        yield from fenced(text_of(kind).split("Raises:")[0].strip())
        yield ""
        yield from table(
            ("Key", "Default"),
            [(f"`{f.name}`", _default_of(f)) for f in msgspec.structs.fields(kind)],
        )


def _setting_table(section: Section) -> Iterator[str]:
    yield from table(
        ("Key", "Variable", "Default", "Allowed", "Meaning"),
        [
            _setting_row(section, field)
            for field in msgspec.structs.fields(section.kind)
            if field.name in section.rules
        ],
    )


def _setting_row(section: Section, field: Any) -> tuple[str, ...]:
    name = field.name
    return (
        f"`{name}`",
        f"`{section.prefix}{name.upper()}`",
        _default_of(field),
        section.rules[name].allowed,
        SETTING_WORDS.get(name) or _help_of(section, name),
    )


def _help_of(section: Section, name: str) -> str:
    command = commands()[f"headrace {section.name}"]
    return next(p.help for p in flags_of(command) if p.name == name)


def _default_of(field: Any) -> str:
    if field.default is msgspec.NODEFAULT:
        return ""
    value = field.default
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, Enum):
        return f"`{value.name.lower()}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, msgspec.Struct):
        return "`keep`"
    return f"`{value}`"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text)
    print(f"{'differ' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
