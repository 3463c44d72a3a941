"""How a route tells which of its calls are equal."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from headrace.engine.caching import KeyOf
from headrace.errors import ConfigError
from headrace.model import Call, Endpoint
from headrace.policies.fingerprint import (
    argument_key,
    function_scope,
    request_key,
    scope_of,
)
from headrace.wire import HttpRequest


def http_key_of(
    dialect: str,
    endpoints: tuple[Endpoint, ...],
    streams: Callable[[HttpRequest], bool],
) -> KeyOf:
    """Return how calls to a pool of endpoints are told apart.

    Args:
        dialect: how they are asked.
        endpoints: the pool as it is built; whoever comes later answers the same calls.
        streams: does a request ask for an answer in chunks?
    """
    headers = {header for endpoint in endpoints for header in endpoint.headers}
    scope = scope_of(dialect, (each.base_url for each in endpoints), headers)

    def key_of(call: Call) -> bytes | None:
        request: HttpRequest = call.payload
        if streams(request):
            return None
        return request_key(request, scope, _tenant(call))

    return key_of


def function_key_of(name: str) -> KeyOf:
    """Return how calls of the function of that name are told apart."""
    scope = function_scope(name)

    def key_of(call: Call) -> bytes | None:
        return argument_key(call.payload, scope, _tenant(call))

    return key_of


def function_name(function: Callable[[Any], Any] | str) -> str:
    """Return the name under which a function's answers are kept for other processes.

    Raises:
        ConfigError: it has no name that only it bears.
    """
    if isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", "")
    if not name or "<" in name or inspect.ismethod(function):
        raise ConfigError(
            f"cache: given {function!r}, allowed a function with a name of its own in a "
            "module (no lambda, inner function, method or object): its answers are kept "
            "under that name"
        )
    return f"{function.__module__}:{name}"


def _tenant(call: Call) -> str:
    """Return who asks: a flow is tenant and job."""
    return call.flow.rpartition("/")[0]
