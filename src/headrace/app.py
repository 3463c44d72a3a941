"""The composition root: settings in, object graph out; here stands the list of layers."""

from __future__ import annotations

import msgspec

from headrace.caches.memory import MemoryCache
from headrace.caches.opening import open_cache
from headrace.calls import as_bytes, as_json, http_call, leased_call
from headrace.clock import Clock
from headrace.engine.attempt import attempting
from headrace.engine.budgeting import Ledger, Money, Till, budgeting
from headrace.engine.caching import Caching, Keeping, KeyOf, caching
from headrace.engine.callkeys import function_key_of, function_name, http_key_of
from headrace.engine.checking import Checking
from headrace.engine.crew import Crew, workers_for
from headrace.engine.deadlines import Deadlines
from headrace.engine.direct import DirectTools, Sleeper
from headrace.engine.falling_back import falling_back
from headrace.engine.flownotes import FlowNotes
from headrace.engine.gate import Gate
from headrace.engine.hedging import HedgeTools, Streams, hedging
from headrace.engine.keyed import Keyed
from headrace.engine.layers import stack
from headrace.engine.pool import Pool, Prepare, check_pool
from headrace.engine.retrying import RetryTools, limiting, retrying
from headrace.engine.served import Served
from headrace.engine.shedding import Shedding
from headrace.engine.sitenotes import SiteNotes
from headrace.engine.vigil import Vigil
from headrace.errors import ConfigError
from headrace.events import Listener
from headrace.jobs import Flow, Leased
from headrace.model import (
    DEFAULT_IN_FLIGHT,
    Call,
    Cost,
    Endpoint,
    Handler,
    Layer,
    Retry,
    with_token_accounting,
)
from headrace.policies.balance import balancer_named
from headrace.ports import Provider, Store
from headrace.ports.tracing import Tracing
from headrace.providers.dialects import Dialect, dialect_named
from headrace.providers.functions.choosing import function_provider
from headrace.providers.http import HttpProvider, checked_endpoint
from headrace.routes import FunctionRoute, HttpRoute, Keys
from headrace.telemetry.resources import CpuLoad
from headrace.terms import CacheRules, Hedge
from headrace.wire import with_model


class RouteTools(msgspec.Struct, frozen=True):
    """What every route is built with."""

    clock: Clock
    listener: Listener
    vigil: Vigil | None = None
    """Watches the upstream; None: each failure is its item's own."""
    caching: Caching | None = None
    """Where answers are kept, for routes that ask for it; closed by who made it."""
    ledger: Ledger | None = None
    """Knows what was spent before; None: nothing was."""
    tracing: Tracing | None = None
    keyed: Keyed | None = None
    """Binds calls by the keys of a service; None: there are none."""

    def keeping(self, rules: CacheRules | None, key_of: KeyOf) -> Keeping | None:
        """Return how a route keeps its answers; None if it keeps none."""
        if self.caching is None or rules is None or rules.ttl_s == 0:
            return None
        return Keeping(self.caching, rules, key_of)


def _never(_call: Call) -> bool:
    return False


def _as_it_is(endpoint: Endpoint) -> Endpoint:
    return endpoint


class Terms(msgspec.Struct, frozen=True):
    """What a route asks for beyond tries and time limits."""

    money: Money = Money()
    hedge: Hedge | None = None
    """None: no call is made twice."""
    streams: Streams = _never
    """Does a call ask for an answer in chunks?"""
    keeping: Keeping | None = None
    """None: no answer is kept."""
    strategy: str = "headroom"
    """Which endpoint gets a call."""
    falling_back: Layer | None = None
    """Asks other models; None: each call is of one model only."""
    prepare: Prepare = _as_it_is
    """Applied to each endpoint that comes while the route is served."""


class Built(msgspec.Struct, frozen=True):
    """One route, ready to be called."""

    handler: Handler
    gate: Gate
    crew: Crew
    provider: Provider
    deadlines: Deadlines
    direct: DirectTools
    pool: Pool
    checking: Checking | None = None
    """None: nobody looks after endpoints but the calls themselves."""

    async def close(self) -> None:
        """Give everything back; idempotent."""
        try:
            if self.checking is not None:
                await self.checking.close()
        finally:
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

    @property
    def direct(self) -> DirectTools:
        return self.built.direct

    @property
    def pool(self) -> Pool:
        return self.built.pool

    async def close(self) -> None:
        """Give everything back; idempotent."""
        await self.built.close()


def build(
    provider: Provider,
    endpoints: tuple[Endpoint, ...],
    retry: Retry,
    timeout_s: float,
    tools: RouteTools,
    terms: Terms = Terms(),
) -> Built:
    """Wire one route: the layers around its provider, outermost first.

    Raises:
        ConfigError: an unknown strategy; no endpoint, or two that are one.
    """
    check_pool(endpoints)
    clock = tools.clock
    gate = Gate(
        endpoints,
        clock,
        tools.listener,
        probe_timeout_s=timeout_s,
        load=CpuLoad().share,
        balancer=balancer_named(terms.strategy),
    )
    crew = Crew(workers_for(gate.capacity))
    gate.capacity_moved = crew.follow
    deadlines = Deadlines()
    till = Till(terms.money, endpoints, tools.ledger)
    trying = attempting(gate, provider, deadlines, timeout_s)
    trying = stack(trying, *_around_tries(gate, till, tools, terms))

    traced = None if tools.tracing is None else tools.tracing.calls
    limit = limiting(retry.total_s, deadlines, clock)

    def around(retry_tools: RetryTools) -> Handler:
        cache = caching(terms.keeping, crew, deadlines, clock)
        tries = retrying(retry, retry_tools)
        layers = [cache, limit, tries]
        if terms.falling_back is not None:
            layers = [limit, terms.falling_back, cache, tries]
        return stack(trying, *([] if traced is None else [traced]), *layers)

    listener = tools.listener
    handler = around(RetryTools(gate, deadlines, clock, crew, listener, tools.vigil))
    if tools.keyed is not None:
        handler = stack(handler, tools.keyed.limiting(crew))
    direct = around(RetryTools(gate, deadlines, clock, Sleeper(clock), listener))
    direct_tools = DirectTools(direct, deadlines)
    pool = Pool(gate, terms.prepare, till.know)
    return Built(handler, gate, crew, provider, deadlines, direct_tools, pool)


def _around_tries(
    gate: Gate, till: Till, tools: RouteTools, terms: Terms
) -> list[Layer]:
    """Return the layers around each try, outermost first."""
    layers: list[Layer] = []
    if terms.hedge is not None:
        hedge_tools = HedgeTools(gate, tools.clock, terms.streams)
        layers.append(hedging(terms.hedge, hedge_tools))
    if tools.keyed is not None:
        layers.append(tools.keyed.paying(till.most_nano))
    if terms.money.is_counted:
        layers.append(budgeting(till))
    if tools.tracing is not None:
        layers.append(tools.tracing.attempts)
    return layers


def build_http_route(route: HttpRoute, keys: Keys, tools: RouteTools) -> BuiltRoute:
    """Build a route to HTTP endpoints, inside the loop that is to serve it.

    Raises:
        ConfigError: an unknown dialect, a bad address, or money that cannot be counted.
    """
    dialect = dialect_named(route.dialect)
    provider = HttpProvider(dialect, keys)

    def prepare(endpoint: Endpoint) -> Endpoint:
        keys(endpoint)
        sound = checked_endpoint(endpoint)
        return with_token_accounting(_with_limit_found(sound), dialect.token_accounting)

    endpoints = tuple(prepare(endpoint) for endpoint in route.endpoints)
    key_of = http_key_of(route.dialect, endpoints, dialect.streams)
    terms = Terms(
        money_of(route),
        route.hedge,
        lambda call: dialect.streams(call.payload),
        tools.keeping(route.cache, key_of),
        route.strategy,
        _falling_back(route, dialect),
        prepare,
    )
    built = build(provider, endpoints, route.retry, route.timeout_s, tools, terms)
    if dialect.check_paths:
        checking = Checking(built.gate, dialect.check_paths, provider.look)
        checking.start()
        built = msgspec.structs.replace(built, checking=checking)
    if route.max_waiting is not None:
        built.gate.shedding = Shedding(route.max_waiting)

    def make_call(lease: Leased, flow: Flow) -> Call:
        return http_call(dialect, lease, flow, tools.clock)

    served = Served(
        route.name,
        built.gate,
        built.handler,
        built.crew,
        make_call,
        as_bytes,
        (
            SiteNotes(built.gate, tools.clock),
            FlowNotes(built.gate, tools.clock, route.name),
        ),
        tools.keyed,
    )
    return BuiltRoute(served, built)


def _with_limit_found(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with the calls in flight found, unless they are stated."""
    limits = endpoint.limits.with_in_flight("auto")
    return msgspec.structs.replace(endpoint, limits=limits)


def _falling_back(route: HttpRoute, dialect: Dialect) -> Layer | None:
    """Return the layer that asks the other models of a route, if it names some.

    Raises:
        ConfigError: the dialect knows of no models.
    """
    check_fallbacks(route)
    if not route.fallbacks:
        return None

    def ask(call: Call, model: str) -> Call:
        request = with_model(call.payload, model)
        _, cost = dialect.describe(request)
        return msgspec.structs.replace(call, payload=request, model=model, cost=cost)

    return falling_back(route.fallbacks, ask)


def check_fallbacks(route: HttpRoute) -> None:
    """Refuse other models where there are none.

    Raises:
        ConfigError: the dialect knows of no models.
    """
    if route.fallbacks and route.dialect == "http":
        raise ConfigError(
            f"route {route.name}: given a fallback with the dialect http, which knows of "
            "no models; allowed with openai, anthropic and azure"
        )


def money_of(route: HttpRoute) -> Money:
    """Return what the calls of a route cost and may cost.

    Raises:
        ConfigError: nobody would count it.
    """
    own = {e.name: e.prices for e in route.endpoints if e.prices}
    money = Money(route.prices, route.budget, route.tenant_budget, own)
    if route.dialect == "http" and money.is_counted:
        raise ConfigError(
            f"route {route.name}: given prices or a budget with the dialect http, which "
            "knows of no tokens; allowed with openai, anthropic and azure"
        )
    if money.counts_usd and not (money.prices or own):
        raise ConfigError(
            f"route {route.name}: given a budget in US dollars and no price; state one "
            "for each model, or one for all"
        )
    return money


def build_function_route(route: FunctionRoute, tools: RouteTools) -> BuiltRoute:
    """Build a route to a function; payloads and results are JSON in the store.

    Raises:
        ConfigError: the function cannot run where it should.
    """
    limits = route.limits.with_in_flight(DEFAULT_IN_FLIGHT)
    provider = function_provider(route.function, route.backend, limits.most_in_flight)
    endpoint = Endpoint(route.name, limits=limits)
    keeping = None
    if route.cache is not None:
        key_of = function_key_of(function_name(route.function))
        keeping = tools.keeping(route.cache, key_of)
    built = build(
        provider,
        (endpoint,),
        route.retry,
        route.timeout_s,
        tools,
        Terms(keeping=keeping),
    )
    tokens = route.tokens

    def make_call(lease: Leased, flow: Flow) -> Call:
        payload = msgspec.json.decode(lease.payload)
        cost = Cost(tokens(payload)) if tokens is not None else Cost()
        return leased_call(lease, flow, payload, "", cost, tools.clock)

    served = Served(
        route.name,
        built.gate,
        built.handler,
        built.crew,
        make_call,
        as_json,
        (FlowNotes(built.gate, tools.clock, route.name),),
    )
    return BuiltRoute(served, built)


async def open_caching(where: str, store: Store | None, clock: Clock) -> Caching:
    """Open the place where answers are kept; the caller closes it before the store.

    Args:
        where: `memory`, a `redis://` address, or empty for beside the jobs.
        store: the jobs' database; a store in memory keeps no answers, and None is none:
            then they are kept in memory.
        clock: time and chance.

    Raises:
        ConfigError: an unknown place, or one that needs what is not installed.
    """
    cache = await open_cache(where, clock) if where else None
    if cache is None and store is not None:
        cache = store.cache()
    if cache is None:
        cache = MemoryCache(clock)
    return Caching(cache, clock, is_shared=not isinstance(cache, MemoryCache))
