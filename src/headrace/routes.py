"""What a user says of a route: where its calls go, and on what terms."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headrace.errors import ConfigError
from headrace.model import Endpoint, Limits, Retry
from headrace.terms import Budget, CacheRules, Fallback, Hedge, Price

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
        cache: how answers are kept; None = not.
    """

    name: str
    function: Callable[[Any], Any] | str
    backend: Backend = "auto"
    limits: Limits = Limits()
    retry: Retry = Retry()
    timeout_s: float = 600.0
    tokens: Callable[[Any], int] | None = None
    cache: CacheRules | None = None


def key_of(endpoint: Endpoint) -> str | None:
    """Return an endpoint's key from the environment; None if it needs none.

    Raises:
        ConfigError: the variable it names is not set.
    """
    if endpoint.key_env is None:
        return None
    key = os.environ.get(endpoint.key_env)
    if not key:
        raise ConfigError(
            f"endpoint {endpoint.name} takes its key from the environment variable "
            f"{endpoint.key_env}, which is not set"
        )
    return key
