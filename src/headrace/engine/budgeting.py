"""Sets money and tokens aside before a call is sent, and settles them after it.

```
take ──► purses of the job and of its tenant hold it ──────────────► send ──► settle
  └────► calls under way may yet leave enough: wait for their ends ──┘
  └────► not even then: BudgetSpent; the call is not sent
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from headrace.engine.streaming import at_end
from headrace.errors import BudgetSpent
from headrace.model import Call, Endpoint, Handler, Layer, Reply, Usage
from headrace.policies.budget import (
    BUDGET,
    NO_PRICE,
    Amount,
    Purse,
    Tariff,
    dearest,
    is_billed,
    nano_of,
    tariff_for,
    tariffs_of,
    why_spent,
)
from headrace.ports import Store
from headrace.terms import Budget, Price

Key = tuple[str, int | str]
"""`job` or `tenant`, and which."""

_MAX_PURSES = 1_000
"""More are forgotten while idle, and read again from the ledger."""


class Ledger(Protocol):
    """Who remembers what was spent before this process began."""

    async def spent_by_job(self, job: int) -> Amount:
        """Return what the recorded outcomes of a job have cost."""
        ...

    async def spent_by_tenant(self, tenant: str) -> Amount:
        """Return what the recorded outcomes of all jobs of a tenant have cost."""
        ...


class StoreLedger:
    """Reads what was spent from the jobs of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def spent_by_job(self, job: int) -> Amount:
        found = await self._store.job(job)
        if found is None:
            return Amount()
        tokens = found.input_tokens + found.output_tokens
        return Amount(nano_of(found.cost_usd), tokens)

    async def spent_by_tenant(self, tenant: str) -> Amount:
        spent = await self._store.spent(tenant)
        tokens = spent.input_tokens + spent.output_tokens
        return Amount(nano_of(spent.cost_usd), tokens)


class Money(msgspec.Struct, frozen=True):
    """What a route's calls cost, and what may be spent on them.

    Args:
        prices: of the route.
        budget: of each job; None = any.
        tenant_budget: of all jobs of a tenant; None = any.
        endpoint_prices: by the endpoint's name; they go before those of the route.
    """

    prices: tuple[Price, ...] = ()
    budget: Budget | None = None
    tenant_budget: Budget | None = None
    endpoint_prices: Mapping[str, tuple[Price, ...]] = {}

    @property
    def is_counted(self) -> bool:
        """Is there anything to count?"""
        return bool(
            self.prices or self.endpoint_prices or self.budget or self.tenant_budget
        )

    @property
    def counts_usd(self) -> bool:
        """Must each call have a price?"""
        return any(
            b is not None and b.usd is not None
            for b in (self.budget, self.tenant_budget)
        )


class Hold(msgspec.Struct, frozen=True):
    """What one call has set aside."""

    keys: tuple[Key, ...]
    need: Amount


class _Waiter(msgspec.Struct, eq=False):
    job: int
    hold: Hold
    turn: asyncio.Future[None]


class Till:
    """The purses of one route.

    What another process spends on the same tenant is seen when a purse is opened, not
    while it is open.

    Args:
        money: prices and budgets.
        endpoints: where the calls may go.
        ledger: what was spent before; None = nothing.

    Invariant: each `take` that returns is ended by exactly one `settle`.
    """

    def __init__(
        self, money: Money, endpoints: Sequence[Endpoint], ledger: Ledger | None
    ) -> None:
        self._money = money
        self._ledger = ledger
        self._endpoints = endpoints
        self._tariffs = tariffs_of(money.prices)
        self._own: dict[str, Mapping[str, Tariff]] = {
            name: tariffs_of(own) for name, own in money.endpoint_prices.items()
        }
        self._purses: dict[Key, Purse] = {}
        self._waiting: list[_Waiter] = []
        self._opening = asyncio.Lock()

    def know(self, endpoints: Sequence[Endpoint]) -> None:
        """From now on calls may go to these endpoints; prices of others are kept."""
        self._endpoints = endpoints
        for endpoint in endpoints:
            if endpoint.prices:
                self._own[endpoint.name] = tariffs_of(endpoint.prices)
            else:
                self._own.pop(endpoint.name, None)

    async def take(self, call: Call) -> Hold:
        """Set aside what `call` may cost; wait while calls under way may free it.

        Raises:
            BudgetSpent: there is not enough, or the call has no known price.
        """
        hold = Hold(self._keys(call), self._need(call))
        while closed := [key for key in hold.keys if key not in self._purses]:
            await self._open(closed[0])
        if not hold.keys:
            return hold
        if not self._waiting and self._reserve(hold):
            return hold
        await self._wait(_Waiter(call.job, hold, _future()))
        return hold

    def settle(self, call: Call, hold: Hold, usage: Usage | None) -> None:
        """Book what a call has cost; None = nobody knows, so what was set aside."""
        used = hold.need
        tariff = self._tariff_at(call.trace.endpoint, call.model)
        if usage is not None:
            nano = 0 if tariff is None else tariff.used(usage)
            used = Amount(nano, usage.total_tokens)
        if tariff is not None:
            call.trace.cost_nano = max(0, call.trace.cost_nano) + used.nano
        self._book(hold, used)

    def give_back(self, call: Call, hold: Hold) -> None:
        """Book that a call has cost nothing."""
        if self._tariff_at(call.trace.endpoint, call.model) is not None:
            call.trace.cost_nano = max(0, call.trace.cost_nano)
        self._book(hold, Amount())

    # ---- what a call may cost

    def most_nano(self, call: Call) -> int | None:
        """Return the most that a call costs, in nano-dollars; None = nobody knows."""
        tariffs, is_known = self._tariffs_of(call)
        return dearest(tariffs).reserved(call.cost) if is_known else None

    def _keys(self, call: Call) -> tuple[Key, ...]:
        keys: tuple[Key, ...] = ()
        if self._money.budget is not None and call.job:
            keys = (("job", call.job),)
        if self._money.tenant_budget is not None:
            keys = (*keys, ("tenant", call.tenant))
        return keys

    def _need(self, call: Call) -> Amount:
        """Return the most that the call costs at any endpoint that may get it."""
        tariffs, is_known = self._tariffs_of(call)
        if self._money.counts_usd and not is_known:
            raise BudgetSpent(
                f"{BUDGET}: {NO_PRICE} for model {call.model!r}, so nothing of "
                f"it is sent; state one, such as --price {call.model or 'MODEL'}=IN/OUT"
            )
        nano = dearest(tariffs).reserved(call.cost) if tariffs else 0
        return Amount(nano, call.cost.tokens)

    def _tariffs_of(self, call: Call) -> tuple[list[Tariff], bool]:
        """Return the prices of all endpoints that may get a call; are all known?"""
        known = [
            self._tariff_at(e.name, call.model)
            for e in self._endpoints
            if not e.models or call.model in e.models
        ]
        tariffs = [t for t in known if t is not None]
        return tariffs, len(tariffs) == max(1, len(known))

    def _tariff_at(self, endpoint: str, model: str) -> Tariff | None:
        own = self._own.get(endpoint)
        found = tariff_for(own, model) if own is not None else None
        return found or tariff_for(self._tariffs, model)

    # ---- the purses

    async def _open(self, key: Key) -> None:
        async with self._opening:
            if key in self._purses:
                return
            if len(self._purses) >= _MAX_PURSES:
                self._forget_idle()
            kind, which = key
            spent = Amount()
            if self._ledger is not None and isinstance(which, int):
                spent = await self._ledger.spent_by_job(which)
            elif self._ledger is not None:
                spent = await self._ledger.spent_by_tenant(str(which))
            money = self._money
            budget = money.budget if kind == "job" else money.tenant_budget
            assert budget is not None
            self._purses[key] = Purse.of(budget, spent)

    def _forget_idle(self) -> None:
        wanted = {key for waiter in self._waiting for key in waiter.hold.keys}
        self._purses = {
            key: purse
            for key, purse in self._purses.items()
            if key in wanted or not purse.is_idle
        }

    def _reserve(self, hold: Hold) -> bool:
        """Set aside from all purses or from none."""
        after: dict[Key, Purse] = {}
        for key in hold.keys:
            after[key], granted = self._purses[key].reserve(hold.need)
            if not granted:
                return False
        self._purses.update(after)
        return True

    def _book(self, hold: Hold, used: Amount) -> None:
        for key in hold.keys:
            self._purses[key] = self._purses[key].settle(hold.need, used)
        if self._waiting:
            self._serve()

    # ---- those that wait

    async def _wait(self, waiter: _Waiter) -> None:
        self._waiting.append(waiter)
        self._serve()
        turn = waiter.turn
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._book(waiter.hold, Amount())
            else:
                self._waiting = [w for w in self._waiting if w is not waiter]
                self._serve()
            raise

    def _serve(self) -> None:
        """Let those go for whom there is enough now, each job's in their order."""
        blocked: set[int] = set()
        left: list[_Waiter] = []
        for waiter in self._waiting:
            turn = waiter.turn
            if turn.done():
                continue
            if waiter.job in blocked:
                left.append(waiter)
            elif self._reserve(waiter.hold):
                turn.set_result(None)
            elif (reason := self._why_never(waiter.hold)) is not None:
                turn.set_exception(BudgetSpent(reason))
            else:
                blocked.add(waiter.job)
                left.append(waiter)
        self._waiting = left

    def _why_never(self, hold: Hold) -> str | None:
        """Return why not even the end of all calls under way will do; None if it may."""
        for key in hold.keys:
            purse = self._purses[key]
            if not purse.can_hold(hold.need):
                whose = "" if key[0] == "job" else f" of tenant {key[1]!r}"
                return f"{BUDGET}{whose}: {why_spent(purse, hold.need)}"
        return None


def budgeting(till: Till) -> Layer:
    """Return the layer around each try that pays for it.

    A try that was not sent, or that was refused with a status, costs nothing. One whose
    use nobody tells (no answer in time, a broken connection, a cancellation, an answer
    without token counts) costs what was set aside.
    """

    def layer(handler: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            hold = await till.take(call)
            tries = call.trace.tries
            try:
                reply = await handler(call)
            except BaseException as error:
                if call.trace.tries > tries and is_billed(error):
                    till.settle(call, hold, None)
                else:
                    till.give_back(call, hold)
                raise
            return at_end(reply, lambda: till.settle(call, hold, reply.usage))

        return handle

    return layer


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
