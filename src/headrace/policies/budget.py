"""Money and tokens that may be spent: reserved before a call, settled after it.

Money is counted in whole nano-dollars (a billionth of a dollar), rounded up for each
call, so that sums are exact and never too small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

import msgspec

from headrace.errors import CallError, ErrorCode
from headrace.model import Cost, Usage
from headrace.terms import Budget, Price

BUDGET = "budget"
"""With this word the reason begins for which a job is paused that has spent it."""
NO_PRICE = "no price is known"
"""Stands in that reason if a model has no price."""
_PICO_PER_TOKEN = 1_000_000
"""Pico-dollars a token costs for each dollar a million tokens cost."""
_FREE = frozenset(
    {
        ErrorCode.CONNECT_FAILED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.TOO_MANY_CONCURRENT,
        ErrorCode.OVERLOADED,
        ErrorCode.SERVER_ERROR,
        ErrorCode.CONFLICT,
        ErrorCode.BAD_CALL,
        ErrorCode.UNAUTHORISED,
        ErrorCode.QUOTA_SPENT,
        ErrorCode.UNKNOWN_MODEL,
    }
)
"""Errors of calls that no provider bills: never sent, or refused with a status."""


class Amount(msgspec.Struct, frozen=True, gc=False):
    """What a call costs, or what is left."""

    nano: int = 0
    """Nano-dollars, >= 0."""
    tokens: int = 0


NOTHING = Amount()


class Tariff(msgspec.Struct, frozen=True, gc=False):
    """A price as it is counted with: whole pico-dollars for a token."""

    input_pico: int
    output_pico: int

    def price(self, input_tokens: int, output_tokens: int) -> int:
        """Return the nano-dollars of so many tokens, rounded up."""
        pico = input_tokens * self.input_pico + output_tokens * self.output_pico
        return -(-pico // 1_000)

    def reserved(self, cost: Cost) -> int:
        """Return the nano-dollars of a call as it is estimated."""
        return self.price(cost.input_tokens, cost.output_tokens)

    def used(self, usage: Usage) -> int:
        """Return the nano-dollars of what a call used."""
        return self.price(usage.input_tokens, usage.output_tokens)


def tariffs_of(prices: Sequence[Price]) -> dict[str, Tariff]:
    """Return prices by model, as they are counted with; `""` stands for all others."""
    return {p.model: Tariff(_pico(p.input_usd), _pico(p.output_usd)) for p in prices}


def tariff_for(tariffs: Mapping[str, Tariff], model: str) -> Tariff | None:
    """Return the price of a model: its own, else the one for all; None = unknown."""
    return tariffs.get(model) or tariffs.get("")


def dearest(tariffs: Sequence[Tariff]) -> Tariff:
    """Return a price that none of `tariffs` is above; there must be one."""
    return Tariff(
        max(t.input_pico for t in tariffs), max(t.output_pico for t in tariffs)
    )


def _pico(usd: Decimal) -> int:
    return int((usd * _PICO_PER_TOKEN).to_integral_value(ROUND_CEILING))


def usd_of(nano: int) -> Decimal:
    """Return nano-dollars as dollars, exactly."""
    return Decimal(nano).scaleb(-9)


def nano_of(usd: Decimal) -> int:
    """Return dollars as nano-dollars, rounded up."""
    return int(usd.scaleb(9).to_integral_value(ROUND_CEILING))


def is_billed(error: BaseException) -> bool:
    """May a call that was sent and ended so have cost something?

    A time limit, a broken connection, an unreadable answer or a cancellation leave it
    open: then what was reserved counts as spent.
    """
    return not (isinstance(error, CallError) and error.code in _FREE)


class Purse(msgspec.Struct, frozen=True, gc=False):
    """What may be spent, what is, and what calls under way may yet spend.

    Invariant: whenever a reservation is granted, spent + reserved <= budget, in money
    and in tokens. A call that uses more than it reserved may lead beyond it once; the
    excess counts, and nothing more is granted.
    """

    budget_nano: int | None = None
    """None = any."""
    budget_tokens: int | None = None
    spent: Amount = NOTHING
    held: Amount = NOTHING
    """Reserved by calls under way."""

    @property
    def is_idle(self) -> bool:
        """Is nothing set aside?"""
        return self.held == NOTHING

    @classmethod
    def of(cls, budget: Budget, spent: Amount = NOTHING) -> Purse:
        """Return a purse that holds `budget`, of which `spent` is gone."""
        nano = None if budget.usd is None else nano_of(budget.usd)
        return cls(nano, budget.tokens, spent)

    def reserve(self, need: Amount) -> tuple[Purse, bool]:
        """Set `need` aside if it is there; return the purse, and whether it was."""
        spent, held = self.spent, self.held
        nano, tokens = held.nano + need.nano, held.tokens + need.tokens
        if self.budget_nano is not None and spent.nano + nano > self.budget_nano:
            return self, False
        if (
            self.budget_tokens is not None
            and spent.tokens + tokens > self.budget_tokens
        ):
            return self, False
        return self._with(spent, Amount(nano, tokens)), True

    def settle(self, reserved: Amount, used: Amount) -> Purse:
        """Turn a reservation into what was really spent."""
        spent, held = self.spent, self.held
        return self._with(
            Amount(spent.nano + used.nano, spent.tokens + used.tokens),
            Amount(held.nano - reserved.nano, held.tokens - reserved.tokens),
        )

    def release(self, reserved: Amount) -> Purse:
        """Give a reservation back: nothing was spent."""
        return self.settle(reserved, NOTHING)

    def can_hold(self, need: Amount) -> bool:
        """Could `need` still be granted if all calls under way cost nothing?"""
        return Purse(self.budget_nano, self.budget_tokens, self.spent).reserve(need)[1]

    def _with(self, spent: Amount, held: Amount) -> Purse:
        return Purse(self.budget_nano, self.budget_tokens, spent, held)


def why_spent(purse: Purse, need: Amount) -> str:
    """Return what a purse lacks for a call, for people."""
    spent = purse.spent
    if purse.budget_nano is not None and spent.nano + need.nano > purse.budget_nano:
        return (
            f"{dollars(usd_of(spent.nano))} of {dollars(usd_of(purse.budget_nano))} USD "
            f"spent, the next call may cost {dollars(usd_of(need.nano))}"
        )
    return (
        f"{spent.tokens:,} of {purse.budget_tokens:,} tokens spent, the next call may "
        f"take {need.tokens:,}"
    )


def dollars(usd: Decimal) -> str:
    """Return an amount with two decimals, or as many as show three digits of it."""
    if usd == 0 or usd >= Decimal("0.1"):
        return f"{usd:,.2f}"
    places = 2 - usd.adjusted()
    text = f"{usd:.{places}f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))
