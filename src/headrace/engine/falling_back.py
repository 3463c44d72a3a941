"""Asks another model where one has failed for good.

```
call ──► model ──► answered
           └────► failed with one of the codes ──► second model ──► …
```
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headrace.errors import CallError, ErrorCode, Rejected
from headrace.model import Call, Handler, Layer, Reply, Trace
from headrace.terms import Fallback

Ask = Callable[[Call, str], Call]
"""Returns the same call of another model."""

_SUMS = (
    "attempts",
    "rate_s",
    "slot_s",
    "endpoint_s",
    "backoff_s",
    "in_flight_s",
    "joined_s",
    "hedges",
    "hedges_won",
)


def falling_back(rules: Sequence[Fallback], ask: Ask) -> Layer:
    """Return the layer that asks another model once all tries of one have failed.

    Each model gets all attempts, and is asked at most once. If the last one fails too,
    its error counts.

    Args:
        rules: the first one counts that fits model and error and names a new model.
        ask: makes the call of the other model.
    """

    def layer(handler: Handler) -> Handler:
        if not rules:
            return handler

        async def handle(call: Call) -> Reply:
            asked, trace = [call.model], call.trace
            call = msgspec.structs.replace(call, falls_back_on=_codes(rules, asked))
            while True:
                try:
                    return await handler(call)
                except (CallError, Rejected) as error:
                    model = _next(rules, asked, error.code)
                    if model is None:
                        raise
                finally:
                    if call.trace is not trace:
                        _add(trace, call.trace)
                        trace.model = call.model
                asked.append(model)
                own = Trace(tries=trace.tries, endpoint=trace.endpoint)
                call = msgspec.structs.replace(
                    ask(call, model), trace=own, falls_back_on=_codes(rules, asked)
                )

        return handle

    return layer


def _codes(rules: Sequence[Fallback], asked: list[str]) -> tuple[ErrorCode, ...]:
    """Return the errors of the model asked last after which another one is asked."""
    return tuple(
        code
        for rule in rules
        if rule.model == asked[-1] and rule.to not in asked
        for code in rule.on
    )


def _next(rules: Sequence[Fallback], asked: list[str], code: ErrorCode) -> str | None:
    for rule in rules:
        if rule.model == asked[-1] and code in rule.on and rule.to not in asked:
            return rule.to
    return None


def _add(whole: Trace, part: Trace) -> None:
    """Add what one more model took; its own count of tries went on from the whole's."""
    for name in _SUMS:
        setattr(whole, name, getattr(whole, name) + getattr(part, name))
    whole.tries, whole.endpoint, whole.cached = part.tries, part.endpoint, part.cached
    if part.cost_nano >= 0:
        whole.cost_nano = max(whole.cost_nano, 0) + part.cost_nano
