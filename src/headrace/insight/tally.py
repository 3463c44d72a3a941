"""What many outcomes add up to."""

from __future__ import annotations

import msgspec

from headrace.insight.attribution import Attribution
from headrace.insight.distribution import Distribution
from headrace.insight.sickness import NO_ANSWERS, Answers
from headrace.model import ItemState, Outcome, Trace

_MAX_CLASSES = 50
_OTHER = "other"


class FailureClass(msgspec.Struct, frozen=True):
    """Failures of one kind."""

    code: str
    status: int | None
    count: int
    example: str
    """Message of the first of them."""
    example_id: str


class Tally:
    """Adds up outcomes in memory that does not grow with them."""

    def __init__(self) -> None:
        self.states: dict[ItemState, int] = dict.fromkeys(ItemState, 0)
        self.attempts = 0
        self.tries = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.hedges = 0
        """Second calls made beside slow ones."""
        self.hedges_won = 0
        self.unpriced = 0
        """Outcomes of calls that were sent and have no price."""
        self.endpoints: dict[str, int] = {}
        """Outcomes by the endpoint that gave them."""
        self.answers: dict[str, Answers] = {}
        """What each endpoint answered by calls of this run."""
        self.calls = Distribution()
        """Seconds of a call: of an item with several tries, their mean."""
        self.attribution = Attribution()
        self._failures: dict[tuple[str, int | None], FailureClass] = {}

    @property
    def total(self) -> int:
        return sum(self.states.values())

    def add(self, outcome: Outcome) -> None:
        """Add one outcome."""
        trace = outcome.trace
        self.states[outcome.state] += 1
        self.attempts += trace.attempts
        self.tries += trace.tries
        self.hedges += trace.hedges
        self.hedges_won += trace.hedges_won
        if outcome.usage is not None and not trace.cached:
            self.input_tokens += outcome.usage.input_tokens
            self.output_tokens += outcome.usage.output_tokens
        if trace.tries:
            self.unpriced += outcome.cost_usd is None
            self.calls.add(trace.in_flight_s / trace.tries)
        if trace.endpoint:
            seen = self.endpoints.get(trace.endpoint, 0)
            self.endpoints[trace.endpoint] = seen + 1
            if outcome.ok and not trace.cached:
                self._add_answer(trace)
        self.attribution.add(trace)
        if outcome.state is ItemState.FAILED:
            self._add_failure(outcome)

    def failures(self) -> list[FailureClass]:
        """Return the classes of failures, the most frequent first; may be empty."""
        return sorted(self._failures.values(), key=lambda each: -each.count)

    def _add_answer(self, trace: Trace) -> None:
        known = self.answers.get(trace.endpoint, NO_ANSWERS)
        is_timed = trace.tries == 1
        self.answers[trace.endpoint] = Answers(
            known.count + 1,
            known.timed + is_timed,
            known.seconds + (trace.in_flight_s if is_timed else 0.0),
        )

    def _add_failure(self, outcome: Outcome) -> None:
        failure = outcome.failure
        code = str(failure.code) if failure else _OTHER
        status = failure.status if failure else None
        key = (code, status)
        if key not in self._failures and len(self._failures) >= _MAX_CLASSES:
            key = (_OTHER, None)
        known = self._failures.get(key)
        if known is not None:
            self._failures[key] = msgspec.structs.replace(known, count=known.count + 1)
        else:
            message = failure.message if failure else ""
            self._failures[key] = FailureClass(*key, 1, message, outcome.id)
