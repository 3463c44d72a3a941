"""Which endpoints of a job were sick, judged by what became of its tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headrace.errors import ErrorCode
from headrace.jobs import Trouble

FAILING_SHARE = 0.1
"""An endpoint fails if that share of its tries does, and at least three of them."""
SLOW_FACTOR = 3.0
"""An endpoint is slow if its answers take so many times as long as the fastest's."""
_LEAST_FAILURES = 3
_LEAST_ANSWERS = 3
_NO_FAULT = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.TOO_MANY_CONCURRENT,
        ErrorCode.BAD_CALL,
        ErrorCode.TOO_COSTLY,
        ErrorCode.UNKNOWN_MODEL,
    }
)
"""These say that we ask too much or wrongly, not that the endpoint is sick."""


class Answers(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint has answered."""

    count: int = 0
    timed: int = 0
    """Of those, answered at the first try: their time is that of one call."""
    seconds: float = 0.0
    """Of the timed ones."""

    @property
    def mean_s(self) -> float:
        """Return how long a call takes; 0.0 if too few were timed."""
        return self.seconds / self.timed if self.timed >= _LEAST_ANSWERS else 0.0


NO_ANSWERS = Answers()


class Sick(msgspec.Struct, frozen=True):
    """One endpoint that did a job harm."""

    endpoint: str
    kind: str
    """`dead` (answered nothing), `failing` or `slow`."""
    answered: int
    failed: int
    """Tries that failed there."""
    code: str = ""
    """Of most of them."""
    example: str = ""
    """The message of one of those."""
    mean_s: float = 0.0
    """How long an answer took; 0.0 = unknown."""
    times: float = 0.0
    """That in multiples of the fastest endpoint's; 0.0 = unknown."""


def sick_endpoints(
    answers: Mapping[str, Answers], troubles: Sequence[Trouble]
) -> list[Sick]:
    """Return the endpoints that were dead, failing or slow, by name; may be empty.

    Args:
        answers: by endpoint.
        troubles: the failed tries, most frequent first.
    """
    faults = [t for t in troubles if t.endpoint and t.code not in _NO_FAULT]
    fastest_s = min([a.mean_s for a in answers.values() if a.mean_s], default=0.0)
    names = sorted({*answers, *(t.endpoint for t in faults)})
    found = [
        _judged(
            name,
            answers.get(name, NO_ANSWERS),
            [t for t in faults if t.endpoint == name],
            fastest_s,
        )
        for name in names
    ]
    return [sick for sick in found if sick is not None]


def _judged(
    name: str, answers: Answers, faults: Sequence[Trouble], fastest_s: float
) -> Sick | None:
    failed = sum(t.count for t in faults)
    times = answers.mean_s / fastest_s if fastest_s else 0.0
    kind = ""
    if failed >= _LEAST_FAILURES and not answers.count:
        kind = "dead"
    elif failed >= max(_LEAST_FAILURES, FAILING_SHARE * (failed + answers.count)):
        kind = "failing"
    elif times >= SLOW_FACTOR:
        kind = "slow"
    if not kind:
        return None
    first = faults[0] if faults else Trouble(name, "", 0, "")
    return Sick(
        name,
        kind,
        answers.count,
        failed,
        first.code,
        first.example,
        answers.mean_s,
        times,
    )
