"""What a cache has saved: calls, tokens and money."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from headrace.events import CacheStatistics
from headrace.model import Usage
from headrace.terms import Price

_MILLION: Final = Decimal(1_000_000)
_MAX_MODELS: Final = 1_000
"""Models counted apart; a run has a handful, and bodies come from strangers."""


class Savings:
    """Adds up what was answered without a call; memory does not grow with it."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.joined = 0
        self.stale = 0
        self.skipped = 0
        self._tokens: dict[str, list[int]] = {}

    def hit(self, model: str, usage: Usage | None) -> None:
        """Count an answer that was kept."""
        self.hits += 1
        if usage is not None:
            self._add(model, usage)

    def join(self, model: str, usage: Usage | None) -> None:
        """Count an answer that another call brought."""
        self.joined += 1
        if usage is not None:
            self._add(model, usage)

    def _add(self, model: str, usage: Usage) -> None:
        if model not in self._tokens and len(self._tokens) >= _MAX_MODELS:
            model = ""
        tokens = self._tokens.setdefault(model, [0, 0])
        tokens[0] += usage.input_tokens
        tokens[1] += usage.output_tokens

    def statistics(self, prices: tuple[Price, ...] = ()) -> CacheStatistics:
        """Return the sums; the money is what the tokens would have cost.

        Args:
            prices: of the models; of one without a price, nothing is counted.
        """
        found = {price.model: price for price in prices}
        saved: Decimal | None = Decimal(0) if found else None
        for model, (came, went) in self._tokens.items():
            price = found.get(model, found.get(""))
            if price is not None and saved is not None:
                saved += (price.input_usd * came + price.output_usd * went) / _MILLION
        return CacheStatistics(
            hits=self.hits,
            misses=self.misses,
            joined=self.joined,
            stale=self.stale,
            skipped=self.skipped,
            input_tokens=sum(tokens[0] for tokens in self._tokens.values()),
            output_tokens=sum(tokens[1] for tokens in self._tokens.values()),
            usd=saved,
        )
