"""What an input would ask for, counted without sending anything."""

from __future__ import annotations

import sys

import msgspec

from headrace.cli import words
from headrace.cli.exits import Exit
from headrace.cli.jobwork import print_json, print_lines
from headrace.cli.runplan import input_rules
from headrace.config import RunSettings
from headrace.jsonl.examination import examine
from headrace.jsonl.reading import opened
from headrace.jsonl.validation import BadLines
from headrace.model import Cost
from headrace.providers.dialects import dialect_named
from headrace.wire import HttpRequest

_MAX_KINDS = 1_000
_OTHER = ("other", "other")


class Kind(msgspec.Struct):
    """Requests of one url and model."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, cost: Cost) -> None:
        """Count one request."""
        self.requests += 1
        self.input_tokens += cost.input_tokens
        self.output_tokens += cost.output_tokens


class Census:
    """Counts requests by url and model, in memory that does not grow with them."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect_named(dialect)
        self.kinds: dict[tuple[str, str], Kind] = {}

    def note(self, request: HttpRequest) -> int:
        """Count one request; return its estimated tokens."""
        model, cost = self._dialect.describe(request)
        key = (request.path.partition("?")[0], model)
        if key not in self.kinds and len(self.kinds) >= _MAX_KINDS:
            key = _OTHER
        self.kinds.setdefault(key, Kind()).add(cost)
        return cost.tokens


async def check_input(name: str, settings: RunSettings) -> Exit:
    """Print what an input holds and what is wrong with it.

    Raises:
        InputError: it cannot be read as lines at all.
    """
    census, bad = Census(settings.dialect), BadLines()
    async with opened(name) as source:
        good = examine(source, input_rules(settings), bad, census.note)
    if settings.json:
        print_json(_fields(name, good, census, bad))
    else:
        print_lines(_lines(name, good, census))
        if bad.count:
            sys.stdout.flush()
            noun = words.plural(bad.count, "line")
            sys.stderr.write(f"{noun} of {name} not right:\n{bad}\n")
    return Exit.USAGE if bad.count else Exit.SUCCEEDED


def _lines(name: str, good: int, census: Census) -> list[str]:
    rows = [f"{name}: {words.plural(good, 'request')} may be sent"]
    doubles = sum(kind.requests for kind in census.kinds.values()) - good
    if doubles:
        rows.append(f"  (counted below with the {words.count(doubles)} named twice)")
    for (url, model), kind in _most_first(census):
        tokens = ""
        if kind.input_tokens or kind.output_tokens:
            tokens = (
                f", about {words.count(kind.input_tokens)} tokens in and at most "
                f"{words.count(kind.output_tokens)} out"
            )
        of = f" of {model}" if model else ""
        rows.append(f"  {words.count(kind.requests)} to {url}{of}{tokens}")
    return rows


def _fields(name: str, good: int, census: Census, bad: BadLines) -> dict[str, object]:
    return {
        "input": name,
        "requests": good,
        "bad_lines": bad.count,
        "kinds": [
            {"url": url, "model": model, **msgspec.structs.asdict(kind)}
            for (url, model), kind in _most_first(census)
        ],
        "first_bad": [msgspec.to_builtins(each) for each in bad.shown],
    }


def _most_first(census: Census) -> list[tuple[tuple[str, str], Kind]]:
    return sorted(census.kinds.items(), key=lambda each: -each[1].requests)
