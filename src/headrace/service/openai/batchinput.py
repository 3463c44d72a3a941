"""The lines of a batch's input: what is right becomes items, what is wrong problems."""

from __future__ import annotations

import msgspec

from headrace.jobs import NewItem
from headrace.jsonl.badline import BadLine
from headrace.jsonl.careful import LineRules
from headrace.jsonl.lines import LineParser
from headrace.jsonl.reading import MAX_LINE_BYTES, Lines, Oversized
from headrace.jsonl.validation import Batch as Items
from headrace.service.openai.batch import MAX_PROBLEMS, Problem
from headrace.wire import HttpRequest, encode_request

LINE_RULES = LineRules(plain_path="", method_required=True)
_LOST = "it is required"
_QUOTE = '"'
_LINE_CODES = {
    "method": "invalid_method",
    "url": "invalid_url",
    "custom_id": "invalid_custom_id",
    "body": "invalid_body",
    "body.stream": "unsupported_parameter",
}


class InputLimits(msgspec.Struct, frozen=True):
    """How much a batch's input may hold.

    Args:
        max_lines: requests in a file; None = any number.
        max_line_bytes: longest line, its line feed not counted.
    """

    max_lines: int | None = None
    max_line_bytes: int = MAX_LINE_BYTES


class _Body(msgspec.Struct):
    model: str | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


class InputCheck:
    """Checks the lines of one input, in their order.

    Args:
        endpoint: the path that each line must name.
        limits: how much it may hold.
    """

    def __init__(self, endpoint: str, limits: InputLimits) -> None:
        self.model: str | None = None
        """What the lines name; None if none does."""
        self.is_full = False
        """Is there so much wrong that the rest need not be read?"""
        self._endpoint = endpoint
        self._limits = limits
        self._items = 0
        self._problems: list[Problem] = []
        self._parse = LineParser("", LINE_RULES, limits.max_line_bytes).parse

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong, by line; what is wrong with the whole file comes last."""
        last = float("inf")
        return tuple(
            sorted(self._problems, key=lambda p: last if p.line is None else p.line)
        )

    def take(self, block: Lines) -> Items:
        """Return the items of some lines; the rest is among the problems."""
        items: list[NewItem] = []
        numbers: list[int] = []
        for number, line in enumerate(block.lines, block.first):
            found = self._parse(line, number)
            if isinstance(found, tuple):
                self._items += 1
                if self._is_allowed(found[1], number):
                    items.append(_item(*found))
                    numbers.append(number)
            elif found is not None:
                self._items += 1
                is_long = isinstance(line, Oversized)
                self._note(_too_long(found) if is_long else _problem(found))
            if self.is_full:
                break
        return Items(items, numbers)

    def double(self, line: int, custom_id: str) -> None:
        """Take note of a line whose name stands on an earlier one too."""
        name = custom_id if len(custom_id) <= 64 else f"{custom_id[:64]}…"
        message = f"The custom_id '{name}' is a duplicate; each must be unique."
        self._note(Problem("duplicate_custom_id", message, "custom_id", line))

    def end(self) -> None:
        """Take note that the file has ended."""
        if not self._items:
            message = "The input file is empty; it must hold at least one request."
            self._note(Problem("empty_file", message))

    def _is_allowed(self, request: HttpRequest, line: int) -> bool:
        """Say whether a sound line fits this batch; take note of why not."""
        limit = self._limits.max_lines
        if limit is not None and self._items > limit:
            message = f"The input file holds more than {limit:,} requests."
            self._problems.append(Problem("too_many_tasks", message))
            self.is_full = True
            return False
        problem = self._mismatch(request, line)
        if problem is not None:
            self._note(problem)
        return problem is None

    def _mismatch(self, request: HttpRequest, line: int) -> Problem | None:
        if request.path != self._endpoint:
            message = (
                f"The url '{request.path[:200]}' does not match the batch's endpoint "
                f"'{self._endpoint}'."
            )
            return Problem("url_mismatch", message, "url", line)
        try:
            model = _decode_body(request.body or b"{}").model
        except msgspec.ValidationError:
            message = "The model must be a string."
            return Problem("invalid_model", message, "body.model", line)
        if model is None or model == self.model:
            return None
        if self.model is None:
            self.model = model
            return None
        message = (
            f"The model '{model[:200]}' is not that of the lines before, "
            f"'{self.model[:200]}': a file is for one model."
        )
        return Problem("model_mismatch", message, "body.model", line)

    def _note(self, problem: Problem) -> None:
        if self.is_full:
            return
        self._problems.append(problem)
        if len(self._problems) == MAX_PROBLEMS - 1:
            message = f"After {MAX_PROBLEMS - 1} errors the rest was not checked."
            self._problems.append(Problem("too_many_errors", message))
            self.is_full = True


def _item(custom_id: str, request: HttpRequest) -> NewItem:
    """Return the item of a line; its tokens are roughly weighed, for fairness only."""
    return NewItem(custom_id, encode_request(request), len(request.body or b"") // 4)


def _too_long(bad: BadLine) -> Problem:
    allowed = bad.allowed.partition(" (")[0]
    message = f"This is {bad.given}; allowed are {allowed}."
    return Problem("line_too_large", message, None, bad.line)


def _problem(bad: BadLine) -> Problem:
    """Return what is wrong with one line, in OpenAI's words where it has some."""
    if not bad.field:
        message = f"This line is not parseable as valid JSON. {bad.message}."
        return Problem("invalid_json_line", message, None, bad.line)
    if bad.allowed == _LOST:
        message = f"Missing required parameter: '{bad.field}'."
        return Problem(
            "missing_required_parameter", message, bad.field.strip(_QUOTE), bad.line
        )
    code = _LINE_CODES.get(bad.field, "unknown_parameter")
    return Problem(
        code, f"Invalid line: {bad.message}.", bad.field.strip(_QUOTE), bad.line
    )
