"""Quantiles of many positive numbers in little memory."""

from __future__ import annotations

import math

_RELATIVE_ERROR = 0.01
_GAMMA = (1 + _RELATIVE_ERROR) / (1 - _RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_SMALLEST = 1e-6
"""What is smaller counts as this much."""


class Distribution:
    """Counts numbers in buckets that grow by 2 %: quantiles are right to 1 %.

    Numbers between 1e-6 and 1e9 need at most 1,730 buckets, however many there are.

    Source: DDSketch (Masson, Rim, Lee 2019), without collapsing buckets.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.largest = 0.0

    def add(self, value: float) -> None:
        """Count one number; negative ones count as 0."""
        bucket = math.ceil(math.log(max(value, _SMALLEST)) / _LOG_GAMMA)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += max(value, 0.0)
        self.largest = max(self.largest, value)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return a number that `share` of all are not above, within 1 %; 0.0 if empty.

        Args:
            share: 0 to 1.
        """
        rank = share * (self.count - 1)
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen > rank:
                middle = 2 * _GAMMA**bucket / (_GAMMA + 1)
                return min(middle, self.largest)
        return self.largest
