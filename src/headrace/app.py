"""The composition root: settings in, object graph out; here stands the list of layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headrace.clock import Clock
from headrace.engine.attempt import attempting
from headrace.engine.crew import Crew
from headrace.engine.deadlines import Deadlines
from headrace.engine.dispatcher import Served
from headrace.engine.gate import Gate
from headrace.engine.layers import stack
from headrace.engine.retrying import RetryTools, limiting, retrying
from headrace.engine.vigil import Vigil
from headrace.errors import BadReply
from headrace.events import Event, Listener
from headrace.jobs import Flow, Leased
from headrace.model import (
    DEFAULT_IN_FLIGHT,
    Call,
    Cost,
    Endpoint,
    Handler,
    Limits,
    Retry,
    Trace,
)
from headrace.policies.balance import balancer_named
from headrace.ports import Provider
from headrace.providers.dialects import Dialect, dialect_named
from headrace.providers.functions.coroutine import CoroutineProvider
from headrace.providers.functions.process import ProcessProvider
from headrace.providers.functions.thread import ThreadProvider
from headrace.providers.http import HttpProvider
from headrace.terms import Budget, CacheRules, Fallback, Hedge, Price
from headrace.wire import decode_request

Backend = Literal["auto", "coroutine", "thread", "process"]
"""Where a user's function runs; `auto`: a coroutine in the loop, else a thread."""

Keys = Callable[[Endpoint], str | None]
"""Gives an endpoint's key from where it is kept; never from a store."""


class HttpRoute(msgspec.Struct, frozen=True):
    """A pool of HTTP endpoints that answer the same calls.

    Args:
        name: jobs name it.
        endpoints: at least one.
        dialect: `openai`, `anthropic`, `azure` or `http`.
        retry: how often a call is tried.
        timeout_s: time limit of one attempt.
        strategy: which endpoint gets a call, one of `STRATEGIES`.
        fallbacks: which model is asked where another has failed for good.
        prices: of models, for budgets; an endpoint's own go before.
        budget: of each job.
        tenant_budget: of all jobs of a tenant together.
        cache: how answers are kept; None = not.
        hedge: when a slow call is made twice; None = never.
        max_waiting: calls that may wait at the gate; more are refused.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    dialect: str = "openai"
    retry: Retry = Retry()
    timeout_s: float = 600.0
    strategy: str = "headroom"
    fallbacks: tuple[Fallback, ...] = ()
    prices: tuple[Price, ...] = ()
    budget: Budget | None = None
    tenant_budget: Budget | None = None
    cache: CacheRules | None = None
    hedge: Hedge | None = None
    max_waiting: int | None = None


class FunctionRoute(msgspec.Struct, frozen=True):
    """A function of the user's that answers calls.

    Args:
        name: jobs name it.
        function: takes one argument; for a process also `module:function`.
        backend: where it runs.
        limits: how many at once, how many a minute.
        retry: how often a call is tried.
        timeout_s: time limit of one attempt.
        tokens: estimates the tokens of an argument, for `Limits.tokens_per_minute`.
    """

    name: str
    function: Callable[[Any], Any] | str
    backend: Backend = "auto"
    limits: Limits = Limits()
    retry: Retry = Retry()
    timeout_s: float = 600.0
    tokens: Callable[[Any], int] | None = None


class RouteTools(msgspec.Struct, frozen=True):
    """What every route is built with."""

    clock: Clock
    listener: Listener
    vigil: Vigil | None = None
    """Watches the upstream; None: each failure is its item's own."""


class Built(msgspec.Struct, frozen=True):
    """One route, ready to be called."""

    handler: Handler
    gate: Gate
    crew: Crew
    provider: Provider
    deadlines: Deadlines

    async def close(self) -> None:
        """Give everything back; idempotent."""
        self.deadlines.close()
        await self.provider.close()


class BuiltRoute(msgspec.Struct, frozen=True):
    """One route, ready to be served from a store."""

    served: Served
    built: Built

    @property
    def gate(self) -> Gate:
        return self.built.gate

    @property
    def crew(self) -> Crew:
        return self.built.crew

    async def close(self) -> None:
        """Give everything back; idempotent."""
        await self.built.close()


def build(
    provider: Provider,
    endpoints: tuple[Endpoint, ...],
    retry: Retry,
    timeout_s: float,
    tools: RouteTools,
    strategy: str = "headroom",
) -> Built:
    """Wire one route: the layers around its provider, outermost first.

    Raises:
        ConfigError: an unknown strategy.
        ValueError: two endpoints of one name or one address.
    """
    clock = tools.clock
    balancer = balancer_named(strategy)
    gate = Gate(endpoints, clock, tools.listener, timeout_s, balancer)
    crew = Crew(gate.capacity + gate.capacity // 8 + 8)
    deadlines = Deadlines()
    retry_tools = RetryTools(gate, deadlines, clock, crew, tools.listener, tools.vigil)
    handler = stack(
        attempting(gate, provider, deadlines, timeout_s),
        limiting(retry.total_s, deadlines, clock),
        retrying(retry, retry_tools),
    )
    return Built(handler, gate, crew, provider, deadlines)


def build_http_route(route: HttpRoute, keys: Keys, tools: RouteTools) -> BuiltRoute:
    """Build a route to HTTP endpoints.

    Raises:
        ConfigError: an unknown dialect or a bad address.
    """
    dialect = dialect_named(route.dialect)
    provider = HttpProvider(dialect, keys)
    built = build(provider, route.endpoints, route.retry, route.timeout_s, tools)

    def make_call(lease: Leased, flow: Flow) -> Call:
        return _http_call(dialect, lease, flow, tools.clock)

    served = Served(
        route.name, built.gate, built.handler, built.crew, make_call, _as_bytes
    )
    return BuiltRoute(served, built)


def build_function_route(route: FunctionRoute, tools: RouteTools) -> BuiltRoute:
    """Build a route to a function; payloads and results are JSON in the store.

    Raises:
        ConfigError: the function cannot run where it should.
    """
    limits = route.limits.with_in_flight(DEFAULT_IN_FLIGHT)
    provider = function_provider(route.function, route.backend, limits.most_in_flight)
    endpoint = Endpoint(route.name, limits=limits)
    built = build(provider, (endpoint,), route.retry, route.timeout_s, tools)
    tokens = route.tokens

    def make_call(lease: Leased, flow: Flow) -> Call:
        payload = msgspec.json.decode(lease.payload)
        cost = Cost(tokens(payload)) if tokens is not None else Cost()
        return _call(lease, flow, payload, "", cost, tools.clock)

    served = Served(
        route.name, built.gate, built.handler, built.crew, make_call, _as_json
    )
    return BuiltRoute(served, built)


def function_provider(
    function: Callable[[Any], Any] | str, backend: Backend, size: int
) -> Provider:
    """Return the provider that runs a user's function.

    Raises:
        ConfigError: the function cannot run there.
    """
    if backend == "process" or isinstance(function, str):
        return ProcessProvider(function, size)
    if backend == "thread" or (backend == "auto" and not _is_coroutine(function)):
        return ThreadProvider(function, size)
    return CoroutineProvider(function)


def _is_coroutine(function: Callable[[Any], Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  an object with async __call__
    )


def _http_call(dialect: Dialect, lease: Leased, flow: Flow, clock: Clock) -> Call:
    request = decode_request(lease.payload)
    wrong = dialect.check(request)
    if wrong is not None:
        raise ValueError(wrong)
    model, cost = dialect.describe(request)
    call = _call(lease, flow, request, model, cost, clock)
    if dialect.repeatable(request):
        return call
    return msgspec.structs.replace(call, repeatable=False)


def _call(  # a call has that many sides
    lease: Leased, flow: Flow, payload: object, model: str, cost: Cost, clock: Clock
) -> Call:
    deadline = None
    if flow.max_deadline_s is not None:
        deadline = clock.monotonic() + flow.max_deadline_s
    return Call(
        id=f"{flow.job_id}-{lease.seq}",
        index=lease.seq,
        payload=payload,
        trace=Trace(),
        model=model,
        flow=f"{flow.tenant}/{flow.job_id}",
        priority=flow.priority,
        cost=cost,
        deadline=deadline,
    )


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


def _as_json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise BadReply(f"the function's result is not JSON: {error}") from error


def unheard(event: Event) -> None:
    """Listen to nothing."""
