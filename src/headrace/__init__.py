"""Runs many slow, limited, failing calls as fast as their limits allow, and loses none.

`stream` and `run` work in memory; `open` works on a store that survives the process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.durable import Headrace, open
    from headrace.errors import (
        CallError,
        ConfigError,
        HeadraceError,
        PermanentError,
        StoreError,
        Throttled,
        TransientError,
    )
    from headrace.events import Progress
    from headrace.jobhandle import JobHandle
    from headrace.jobs import Job
    from headrace.library import run, stream
    from headrace.model import (
        Endpoint,
        ItemState,
        Limits,
        Outcome,
        Priority,
        Retry,
        Usage,
    )
    from headrace.payloads import Item
    from headrace.routes import FunctionRoute, HttpRoute
    from headrace.wire import HttpRequest

__all__ = [
    "CallError",
    "ConfigError",
    "Endpoint",
    "FunctionRoute",
    "Headrace",
    "HeadraceError",
    "HttpRequest",
    "HttpRoute",
    "Item",
    "ItemState",
    "Job",
    "JobHandle",
    "Limits",
    "Outcome",
    "PermanentError",
    "Priority",
    "Progress",
    "Retry",
    "StoreError",
    "Throttled",
    "TransientError",
    "Usage",
    "open",
    "run",
    "stream",
]

_HOMES = {
    "CallError": "headrace.errors",
    "ConfigError": "headrace.errors",
    "Endpoint": "headrace.model",
    "FunctionRoute": "headrace.routes",
    "Headrace": "headrace.durable",
    "HeadraceError": "headrace.errors",
    "HttpRequest": "headrace.wire",
    "HttpRoute": "headrace.routes",
    "Item": "headrace.payloads",
    "ItemState": "headrace.model",
    "Job": "headrace.jobs",
    "JobHandle": "headrace.jobhandle",
    "Limits": "headrace.model",
    "Outcome": "headrace.model",
    "PermanentError": "headrace.errors",
    "Priority": "headrace.model",
    "Progress": "headrace.events",
    "Retry": "headrace.model",
    "StoreError": "headrace.errors",
    "Throttled": "headrace.errors",
    "TransientError": "headrace.errors",
    "Usage": "headrace.model",
    "open": "headrace.durable",
    "run": "headrace.library",
    "stream": "headrace.library",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: `headrace --help` stays fast."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
