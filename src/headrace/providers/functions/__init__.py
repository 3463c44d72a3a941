"""Providers that call the user's own function: coroutine, thread, process."""

from headrace.providers.functions.coroutine import CoroutineProvider
from headrace.providers.functions.process import ProcessProvider
from headrace.providers.functions.thread import ThreadProvider

__all__ = ["CoroutineProvider", "ProcessProvider", "ThreadProvider"]
