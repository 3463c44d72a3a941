"""What outcomes add to their job: dollars become whole billionths of a dollar.

A column of whole numbers is exact in every database, and a sum of it is, too.
"""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import msgspec

from headrace.model import ItemState, Outcome

_NANO: Final = 1_000_000_000
_MOST: Final = 2**53
"""Of one outcome. A stranger's count must not overflow a column: that would stop the
recording. Nine million dollars, or 9e15 tokens, are nobody's true answer."""
MOST_IN_ALL: Final = 2**62
"""Of one job; fits the column."""


def nano_of(cost_usd: Decimal) -> int:
    """Return billionths of a dollar, rounded to the nearest; from 0 to 2**53."""
    most = Decimal(_MOST)
    nano = max(Decimal(0), min(cost_usd * _NANO, most))
    return int(nano.to_integral_value(ROUND_HALF_EVEN))


def usd_of(nano: int) -> Decimal:
    """Return dollars, exactly."""
    return Decimal(nano) / _NANO


class Sums(msgspec.Struct):
    """What a group of outcomes adds up to for one job."""

    ends: Counter[ItemState] = msgspec.field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0

    def add(self, outcome: Outcome) -> None:
        """Add one outcome, whatever its end: a failure may have cost as well."""
        self.ends[outcome.state] += 1
        usage = outcome.usage
        if usage is not None:
            self.input_tokens += max(0, min(usage.input_tokens, _MOST))
            self.output_tokens += max(0, min(usage.output_tokens, _MOST))
        if outcome.cost_usd is not None:
            self.cost_nano += nano_of(outcome.cost_usd)
