"""A whole input as items for a store, with what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from headrace.jobs import NewItem
from headrace.jsonl.badline import BadLine
from headrace.jsonl.careful import LineRules
from headrace.jsonl.lines import LineParser
from headrace.jsonl.reading import MAX_LINE_BYTES, Input, Lines
from headrace.wire import HttpRequest, encode_request

MAX_SHOWN = 20


class InputRules(msgspec.Struct, frozen=True):
    """What an input may hold.

    Args:
        lines: what each line may say.
        max_line_bytes: longest line that is taken, its line feed not counted.
        max_items: take only so many lines that are right; None = all.
    """

    lines: LineRules = LineRules()
    max_line_bytes: int = MAX_LINE_BYTES
    max_items: int | None = None


class Batch(msgspec.Struct, frozen=True):
    """Some items in the order of the input, never none."""

    items: list[NewItem]
    numbers: list[int]
    """The line of each."""


class BadLines:
    """Counts what is wrong, and keeps the first of it to show.

    Args:
        on_bad: gets each one, in the order they are found.
    """

    def __init__(self, on_bad: Callable[[BadLine], None] | None = None) -> None:
        self.count = 0
        self._shown: list[BadLine] = []
        self._on_bad = on_bad

    def add(self, bad: BadLine) -> None:
        """Take note of one."""
        self.count += 1
        if len(self._shown) < MAX_SHOWN:
            self._shown.append(bad)
        if self._on_bad is not None:
            self._on_bad(bad)

    @property
    def shown(self) -> list[BadLine]:
        """The first of them, by line."""
        return sorted(self._shown, key=lambda bad: bad.line)

    def __str__(self) -> str:
        rows = [str(bad) for bad in self.shown]
        if self.count > len(rows):
            rows.append(f"and {self.count - len(rows):,} more")
        return "\n".join(rows)


class Validation:
    """Gives what is right in an input, batch by batch; adds what is wrong to `bad`.

    Names that stand twice are not found here: with a store its index finds them (see
    `submission.py`), without one `names.py` does. An input without a line is bad too.

    Args:
        source: what to read, from its start.
        rules: what it may hold.
        estimate: expected tokens of a request, for fairness between jobs.
        bad: takes what is wrong.
    """

    def __init__(
        self,
        source: Input,
        rules: InputRules,
        estimate: Callable[[HttpRequest], int],
        bad: BadLines,
    ) -> None:
        self.bad = bad
        self.lines = 0
        """Lines read, blank ones included; grows while the batches are taken."""
        self.items = 0
        """Items given in batches."""
        self.source = source
        self._rules = rules
        self._estimate = estimate
        self._parse = LineParser(source.name, rules.lines, rules.max_line_bytes).parse

    def batches(self) -> Iterator[Batch]:
        """Read the input once.

        Raises:
            InputError: it cannot be read as lines at all.
        """
        for block in self.source.blocks(self._rules.max_line_bytes):
            batch = self._batch(block)
            self.items += len(batch.items)
            if batch.items:
                yield batch
            if self._left() == 0:
                return
        if not self.items and not self.bad.count:
            nothing = "nothing" if not self.source.size else "only blank lines"
            name = self.source.name
            self.bad.add(BadLine(name, 0, "", nothing, "at least one request"))

    def _batch(self, block: Lines) -> Batch:
        parse, estimate, left = self._parse, self._estimate, self._left()
        items: list[NewItem] = []
        numbers: list[int] = []
        for number, line in enumerate(block.lines, block.first):
            found = parse(line, number)
            if isinstance(found, tuple):
                name, request = found
                payload = encode_request(request)
                items.append(NewItem(name, payload, estimate(request)))
                numbers.append(number)
                if len(items) == left:
                    break
            elif found is not None:
                self.bad.add(found)
        self.lines = number
        return Batch(items, numbers)

    def _left(self) -> int | None:
        limit = self._rules.max_items
        return None if limit is None else limit - self.items
