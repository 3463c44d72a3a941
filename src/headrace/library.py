"""The Python face in memory: run a function over many items."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import msgspec

from headrace.app import (
    Built,
    RouteTools,
    Terms,
    build,
    open_caching,
)
from headrace.caches.opening import MEMORY, REDIS
from headrace.clock import Clock, SystemClock
from headrace.engine.budgeting import Money
from headrace.engine.caching import Keeping
from headrace.engine.callkeys import function_key_of, function_name
from headrace.engine.meter import INTERVAL_S, Meter
from headrace.engine.runner import Runner, RunTools
from headrace.errors import ConfigError
from headrace.events import Progress, unheard
from headrace.model import (
    DEFAULT_IN_FLIGHT,
    Call,
    Cost,
    Endpoint,
    Limits,
    Outcome,
    Retry,
    Trace,
)
from headrace.providers.functions.choosing import function_provider
from headrace.routes import Backend
from headrace.stores.opening import open_store
from headrace.terms import Budget, CacheRules, Price

ProgressCallback = Callable[[Progress], Awaitable[None] | None]
Items = Iterable[Any] | AsyncIterable[Any]

_THE_RUN = 1
"""A run in memory is one job: the only one of its budget."""
_ORDER_WINDOW = 4_096
"""Outcomes that may wait for an earlier one when they are asked for in order."""


class Options(msgspec.Struct, frozen=True):
    """How a run in memory goes about its work.

    Args:
        limits: calls at once, calls and tokens a minute.
        retry: how often a call is tried.
        timeout_s: time limit of one attempt.
        deadline_s: time limit of the whole run; what is not finished then expires.
        backend: where the function runs; `auto`: a coroutine in the loop, else threads.
        tokens: estimates the tokens of an item, for `Limits.tokens_per_minute` and for
            `budget`.
        budget: what the run may spend. When what is left does not pay for an item,
            nothing more is started: that item and the waiting ones of an iterable with
            a length end as skipped.
        prices: what tokens cost; one without a model, since functions have none.
        progress: told how the run stands, at most ten times a second and at the end; a
            coroutine function is awaited aside. Its own error never harms the run.
        cache: equal items are called once, and answers kept; None = not. An item or an
            answer that JSON does not give back as it was is not kept.
        cache_store: where answers are kept: `memory` for this run only; a SQLite path,
            `postgresql://…` or `redis://…` for others, too, under the function's name.
        clock: time and chance.
    """

    limits: Limits = Limits()
    retry: Retry = Retry()
    timeout_s: float = 600.0
    deadline_s: float | None = None
    backend: Backend = "auto"
    tokens: Callable[[Any], int] | None = None
    budget: Budget | None = None
    prices: tuple[Price, ...] = ()
    progress: ProgressCallback | None = None
    cache: CacheRules | None = None
    cache_store: str = "memory"
    clock: Clock | None = None


async def stream(
    function: Callable[[Any], Any] | str,
    items: Items,
    *,
    ordered: bool = False,
    **options: Any,
) -> AsyncGenerator[Outcome, None]:
    """Call `function` with each item and yield the outcomes as they come.

    One item's failure is an outcome, never an exception. Leaving the loop cancels what
    runs; close the generator (`contextlib.aclosing`) to wait for that.

    Args:
        function: a coroutine function, a plain one (runs in threads), or
            `module:function` (runs in processes).
        items: any iterable, also asynchronous, also endless; read only as fast as calls
            can be made.
        ordered: yield in the order of the items instead.
        **options: the fields of `Options`.

    Raises:
        ConfigError, TypeError, ValueError: a setting is refused.
        Exception: what `items` itself raises, after the outcomes that came before.
    """
    chosen = Options(**options)
    clock = chosen.clock or SystemClock()
    async with _caching(function, chosen, clock) as keeping:
        run = _Run(function, items, chosen, clock, keeping, ordered=ordered)
        try:
            async with aclosing(run.outcomes()) as source:
                async for outcome in source:
                    yield outcome
        finally:
            await run.close()


async def run(
    function: Callable[[Any], Any] | str, items: Items, **options: Any
) -> list[Outcome]:
    """Call `function` with each item; return all outcomes in the order of the items.

    Arguments and errors are those of `stream`.
    """
    outcomes = [o async for o in stream(function, items, **options)]
    outcomes.sort(key=lambda outcome: outcome.index)
    return outcomes


@asynccontextmanager
async def _caching(
    function: Callable[[Any], Any] | str, options: Options, clock: Clock
) -> AsyncIterator[Keeping | None]:
    """Open the place where answers are kept, if they are."""
    rules, where = options.cache, options.cache_store
    if rules is None or rules.ttl_s == 0:
        yield None
        return
    is_private = where == MEMORY
    key_of = function_key_of("" if is_private else function_name(function))
    async with AsyncExitStack() as stack:
        store = None
        if not is_private and not where.startswith(REDIS):
            store, where = await open_store(where, clock), ""
            stack.push_async_callback(store.close)
        caching = await open_caching(where, store, clock)
        stack.push_async_callback(caching.close)
        yield Keeping(caching, rules, key_of)


class _Run:
    """One run in memory: the object graph, and who watches it."""

    def __init__(
        self,
        function: Callable[[Any], Any] | str,
        items: Items,
        options: Options,
        clock: Clock,
        keeping: Keeping | None,
        *,
        ordered: bool,
    ) -> None:
        self._options = options
        self._built = _build(function, options, clock, keeping)
        meter = Meter(self._built.gate, self._built.crew, clock)
        if keeping is not None:
            meter.cached = keeping.caching.statistics
        self._watcher = (
            Watcher(options.progress, meter, clock) if options.progress else None
        )
        capacity = self._built.gate.capacity
        self._runner = Runner(
            items,
            RunTools(
                handler=self._built.handler,
                crew=self._built.crew,
                meter=meter,
                clock=clock,
                make_call=_call_maker(options),
                ahead=2 * capacity + (_ORDER_WINDOW if ordered else 64),
                ordered=ordered,
                progressed=self._watcher.note if self._watcher else None,
            ),
        )

    def outcomes(self) -> AsyncGenerator[Outcome, None]:
        return self._runner.outcomes(self._options.deadline_s)

    async def close(self) -> None:
        if self._watcher is not None:
            await self._watcher.close()
        await self._built.close()


def _build(
    function: Callable[[Any], Any] | str,
    options: Options,
    clock: Clock,
    keeping: Keeping | None,
) -> Built:
    limits = options.limits.with_in_flight(DEFAULT_IN_FLIGHT)
    provider = function_provider(function, options.backend, limits.most_in_flight)
    endpoint = Endpoint("function", limits=limits)
    tools = RouteTools(clock, unheard)
    terms = Terms(_money_of(options), keeping=keeping)
    return build(provider, (endpoint,), options.retry, options.timeout_s, tools, terms)


def _money_of(options: Options) -> Money:
    """Return what the items cost and may cost.

    Raises:
        ConfigError: nobody would count it.
    """
    money = Money(tuple(options.prices), options.budget)
    if money.is_counted and options.tokens is None:
        raise ConfigError(
            "budget, prices: given without tokens; allowed with a function `tokens` "
            "that estimates the tokens of an item"
        )
    if money.counts_usd and not money.prices:
        raise ConfigError("budget: given in US dollars without prices; state a price")
    return money


def _call_maker(options: Options) -> Callable[[int, Any], Call]:
    tokens = options.tokens

    def make(index: int, item: Any) -> Call:
        if tokens is None:
            return Call(str(index), index, item, Trace())
        cost = Cost(tokens(item))
        return Call(str(index), index, item, Trace(), cost=cost, job=_THE_RUN)

    return make


class Watcher:
    """Calls a progress callback at most ten times a second, and once at the end."""

    def __init__(self, callback: ProgressCallback, meter: Meter, clock: Clock) -> None:
        self._callback = callback
        self._meter = meter
        self._clock = clock
        self._told_at = -1.0
        self._telling: asyncio.Task[None] | None = None

    def note(self) -> None:
        """Something changed: tell, unless told a moment ago or still telling."""
        now = self._clock.monotonic()
        busy = self._telling is not None and not self._telling.done()
        if not busy and now - self._told_at >= INTERVAL_S:
            self._told_at = now
            self._tell()

    async def close(self) -> None:
        """Tell once more how it ended; wait for a callback that is still at it."""
        if self._telling is not None:
            await asyncio.wait([self._telling])
        self._tell()
        if self._telling is not None:
            await asyncio.wait([self._telling])

    def _tell(self) -> None:
        try:
            answer = self._callback(self._meter.snapshot())
        except Exception:  # noqa: BLE001  the callback is not ours
            _log_callback_error()
            return
        if inspect.isawaitable(answer):
            self._telling = asyncio.ensure_future(_guarded(answer))


async def _guarded(answer: Awaitable[None]) -> None:
    try:
        await answer
    except Exception:  # noqa: BLE001  the callback is not ours
        _log_callback_error()


def _log_callback_error() -> None:
    logging.getLogger("headrace").exception("the progress callback failed")
