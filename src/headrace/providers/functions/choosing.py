"""Which provider runs a user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from headrace.ports import Provider
from headrace.providers.functions.coroutine import CoroutineProvider
from headrace.providers.functions.process import ProcessProvider
from headrace.providers.functions.thread import ThreadProvider


def function_provider(
    function: Callable[[Any], Any] | str, backend: str, size: int
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
