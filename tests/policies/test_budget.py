"""Money and tokens: reserved, settled, never more granted than there is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ErrorCode, Throttled, TimedOut, Unreachable
from headrace.model import Cost, Usage
from headrace.policies.budget import (
    Amount,
    Purse,
    dearest,
    dollars,
    is_billed,
    nano_of,
    tariff_for,
    tariffs_of,
    usd_of,
    why_spent,
)
from headrace.terms import Budget, Price

small = st.integers(0, 1_000)
amounts = st.builds(Amount, small, small)
budgets = st.one_of(st.none(), st.integers(1, 3_000))


def test_a_million_tokens_cost_what_the_price_says() -> None:
    tariff = tariffs_of([Price(Decimal("0.15"), Decimal("0.60"))])[""]
    assert usd_of(tariff.used(Usage(1_000_000, 1_000_000))) == Decimal("0.75")


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.decimals(0, 100, places=4))
def test_money_is_rounded_up_by_less_than_a_nano_dollar(
    tokens_in: int, tokens_out: int, usd: Decimal
) -> None:
    nano = tariffs_of([Price(usd, 2 * usd)])[""].reserved(Cost(tokens_in, tokens_out))
    exact = usd * (tokens_in + 2 * tokens_out) / 1_000_000
    assert exact <= usd_of(nano) < exact + Decimal("1e-9")


def test_a_models_own_price_goes_before_the_one_for_all() -> None:
    prices = tariffs_of(
        [Price(Decimal(1), Decimal(1)), Price(Decimal(9), Decimal(9), "m")]
    )
    own, other = tariff_for(prices, "m"), tariff_for(prices, "x")
    assert own is not None
    assert other is not None
    assert (own.price(1, 0), other.price(1, 0)) == (9_000, 1_000)


def test_a_model_without_a_price_has_none_and_is_not_free() -> None:
    assert tariff_for(tariffs_of([Price(Decimal(1), Decimal(1), "m")]), "x") is None


def test_the_dearest_price_is_taken_side_by_side() -> None:
    found = tariffs_of(
        [Price(Decimal(1), Decimal(5), "a"), Price(Decimal(2), Decimal(3), "b")]
    )
    assert dearest(list(found.values())).price(1, 1) == 7_000


@given(budgets, budgets, st.lists(st.tuples(amounts, st.sampled_from("rsx"), amounts)))
def test_a_reservation_is_granted_only_within_the_budget(
    nano: int | None, tokens: int | None, steps: list[tuple[Amount, str, Amount]]
) -> None:
    purse, held = Purse(nano, tokens), []
    for need, what, used in steps:
        if what == "r":
            purse, granted = purse.reserve(need)
            if granted:
                held.append(need)
                total = purse.spent.nano + purse.held.nano
                assert nano is None or total <= nano
                total = purse.spent.tokens + purse.held.tokens
                assert tokens is None or total <= tokens
        elif held and what == "s":
            purse = purse.settle(held.pop(0), used)
        elif held:
            purse = purse.release(held.pop())
    assert purse.held.nano == sum(each.nano for each in held)
    assert purse.held.tokens == sum(each.tokens for each in held)


@given(amounts, amounts)
def test_a_refused_reservation_changes_nothing(spent: Amount, need: Amount) -> None:
    purse = Purse(500, 500, spent)
    after, granted = purse.reserve(need)
    assert granted or after is purse


def test_what_is_released_can_be_reserved_again() -> None:
    purse, _ = Purse(100).reserve(Amount(100))
    assert not purse.reserve(Amount(1))[1]
    assert purse.release(Amount(100)).reserve(Amount(100))[1]


def test_only_what_is_spent_for_good_rules_a_call_out() -> None:
    purse, _ = Purse(100, None, Amount(10)).reserve(Amount(90))
    assert purse.can_hold(Amount(90))
    assert not purse.can_hold(Amount(91))


def test_a_call_that_used_more_than_reserved_is_counted_in_full() -> None:
    purse, _ = Purse(100).reserve(Amount(60))
    purse = purse.settle(Amount(60), Amount(120))
    assert purse.spent.nano == 120
    assert not purse.reserve(Amount(1))[1]


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (Unreachable("no"), False),
        (Throttled("slow"), False),
        (TimedOut("late"), True),
        (TimedOut("odd", code=ErrorCode.CONNECTION_LOST), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_what_may_have_been_carried_out_is_counted(
    error: BaseException, *, billed: bool
) -> None:
    assert is_billed(error) is billed


def test_the_reason_says_how_much_of_what_is_spent() -> None:
    purse = Purse.of(Budget(Decimal(5)), Amount(nano_of(Decimal("4.98"))))
    reason = why_spent(purse, Amount(nano_of(Decimal("0.03"))))
    assert reason == "4.98 of 5.00 USD spent, the next call may cost 0.03"
    tokens = Purse.of(Budget(tokens=1_000), Amount(0, 900))
    assert why_spent(tokens, Amount(0, 200)).startswith("900 of 1,000 tokens spent")


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0", "0.00"), ("1234.5", "1,234.50"), ("0.01234", "0.0123"), ("0.5", "0.50")],
)
def test_small_amounts_keep_their_digits(usd: str, shown: str) -> None:
    assert dollars(Decimal(usd)) == shown
