"""What may be spent with each key: drawn ahead from a ledger that outlives the process.

```
take ──► what was drawn holds it ─────────────────────────► send ──► settle
  └────► draw more: the ledger books it as spent ──► holds it ──┘
  └────► nothing is left: wait for calls under way, or BudgetSpent
tidy ──► what was drawn and is not used goes back
```
So money is spent in the ledger before a call is sent: a kill loses at most what was drawn
and not used, and several processes share a budget without going beyond it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from headrace.clock import Clock
from headrace.errors import BudgetSpent, StoreError
from headrace.policies.budget import BUDGET, Amount, Purse, nano_of, why_spent
from headrace.policies.window import next_span_at, span_of
from headrace.terms import KeyBudget

OF_KEY = f"{BUDGET} of key"
"""With these words the reason begins for which a job waits whose key has spent its."""
_PARTS = 100
"""A hundredth of a budget is drawn at once: so often at most it is written for draws."""
_DRY_S = 1.0
"""So long the ledger is not asked again for as much as it did not have."""


class Ledger(Protocol):
    """Remembers what was spent with each key; shared by all processes."""

    async def book(
        self,
        key: str,
        span: str,
        nano: int,
        most: int | None = None,
        least: int = 0,
    ) -> tuple[int, int]:
        """Count nano-dollars as spent, or as much of them as `most` leaves room for.

        Args:
            key: whose they are.
            span: when they are spent; another one than the last begins at nothing.
            nano: how many; < 0 gives them back.
            most: what the span may have in all; None = any.
            least: if there is room for less, nothing is booked.

        Returns:
            How many were booked, and what the span has now.
        """
        ...

    async def await_money(self, key: str, job: int, nano: int) -> None:
        """Note that a job waits until so much may be spent."""
        ...


class _Account:
    """What this process has drawn for one key in one span."""

    def __init__(self, span: str) -> None:
        self.span = span
        self.purse = Purse(0)
        self.lock = asyncio.Lock()
        self.freed = asyncio.Event()
        self.dry_until = 0.0
        self.dry_for = 0
        """What the ledger did not have."""
        self.booked = 0
        """What the ledger had when it was asked last."""
        self.short = 0
        """What the last call may have cost that was refused."""
        self.is_quiet = False

    @property
    def free(self) -> int:
        """Drawn and not used; < 0 if calls cost more than was set aside."""
        purse = self.purse
        return (purse.budget_nano or 0) - purse.spent.nano - purse.held.nano

    def add(self, nano: int) -> None:
        """Have so much more, or less."""
        purse = self.purse
        self.purse = Purse(
            (purse.budget_nano or 0) + nano, None, purse.spent, purse.held
        )

    def reserve(self, need: Amount) -> bool:
        """Set money aside if it is there."""
        self.is_quiet = False
        self.purse, granted = self.purse.reserve(need)
        return granted


class KeyHold(msgspec.Struct, frozen=True):
    """What one call has set aside."""

    account: _Account
    need: Amount


class KeyPurses:
    """The purses of the keys that have a budget.

    Args:
        ledger: see there.
        clock: time.

    Invariant: each `take` that returns is ended by exactly one `settle`.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    async def take(self, key: str, budget: KeyBudget, nano: int) -> KeyHold:
        """Set aside what a call may cost; wait while calls under way may free it.

        Args:
            key: whose it is.
            budget: of the key.
            nano: nano-dollars, >= 0.

        Raises:
            BudgetSpent: there is not enough.
        """
        need = Amount(nano)
        while True:
            account = self._account(key, budget)
            if account.reserve(need):
                return KeyHold(account, need)
            if await self._draw(key, account, budget, need):
                continue
            if not account.purse.can_hold(need):
                account.short = nano
                now = self._clock.utc()
                raise BudgetSpent(_why(key, account, budget, need, now))
            account.freed.clear()
            await account.freed.wait()

    def settle(self, hold: KeyHold, nano: int) -> None:
        """Book what a call has cost."""
        account = hold.account
        account.is_quiet = False
        account.purse = account.purse.settle(hold.need, Amount(nano))
        account.freed.set()

    async def left(self, key: str, budget: KeyBudget) -> int:
        """Return the nano-dollars that may yet be spent; < 0 if too many were."""
        span = span_of(budget.window, self._clock.utc())
        _, booked = await self._ledger.book(key, span, 0)
        account = self._accounts.get(key)
        free = account.free if account is not None and account.span == span else 0
        return nano_of(budget.usd) - booked + free

    async def is_spent(self, key: str, budget: KeyBudget) -> bool:
        """Is nothing left, or less than the last call that was refused would cost?"""
        account = self._accounts.get(key)
        span = span_of(budget.window, self._clock.utc())
        short = 1
        if account is not None and account.span == span:
            short = max(short, account.short)
        return await self.left(key, budget) < short

    async def tidy(self, *, all_of_it: bool = False) -> None:
        """Give back what was drawn and not used since the last time.

        Args:
            all_of_it: also what was used just now; what calls hold stays spent.
        """
        for key, account in list(self._accounts.items()):
            if account.is_quiet or all_of_it or account.free < 0:
                await self._even(key, account)
                is_over = account.purse.is_idle and not account.free
                if is_over and not account.short and not account.lock.locked():
                    self._accounts.pop(key, None)
            account.is_quiet = True

    async def _even(self, key: str, account: _Account) -> None:
        """Let the ledger have what is really spent and held."""
        async with account.lock:
            free = account.free
            if not free:
                return
            account.add(-free)  # first: nobody may use what is on its way back
            try:
                _, account.booked = await self._ledger.book(key, account.span, -free)
                account.dry_until = 0.0
            except StoreError:
                account.add(free)
                raise

    def _account(self, key: str, budget: KeyBudget) -> _Account:
        span = span_of(budget.window, self._clock.utc())
        account = self._accounts.get(key)
        if account is None or account.span != span:
            account = self._accounts[key] = _Account(span)
        return account

    async def _draw(
        self, key: str, account: _Account, budget: KeyBudget, need: Amount
    ) -> bool:
        """Draw more from the ledger; return whether there may be enough now."""
        async with account.lock:
            wanted = need.nano - account.free
            if wanted <= 0:
                return True  # somebody else has drawn, or given back
            is_dry = self._clock.monotonic() < account.dry_until
            if is_dry and wanted >= account.dry_for:
                return False
            most = nano_of(budget.usd)
            # A part is of use only if calls under way may free the rest.
            least = wanted if account.purse.is_idle else 0
            got, account.booked = await self._ledger.book(
                key, account.span, wanted + most // _PARTS, most, least
            )
            account.add(got)
            if got < wanted:
                account.dry_until = self._clock.monotonic() + _DRY_S
                account.dry_for = wanted
            return got >= wanted


def _why(
    key: str, account: _Account, budget: KeyBudget, need: Amount, now: float
) -> str:
    spent = Amount(account.booked - account.free)
    words = why_spent(Purse(nano_of(budget.usd), None, spent), need)
    span = "" if budget.window == "total" else f" in {account.span}"
    return f"{OF_KEY} {key}{span}: {words}{_anew(budget, now)}"


def _anew(budget: KeyBudget, now: float) -> str:
    """Return when a budget begins anew, for people; "" = never."""
    at = next_span_at(budget.window, now)
    if at is None:
        return ""
    return f"; it begins anew on {datetime.fromtimestamp(at, UTC):%Y-%m-%d} (UTC)"
