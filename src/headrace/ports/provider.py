"""What makes calls: the contract of every provider."""

from __future__ import annotations

from typing import Protocol

from headrace.model import Call, Endpoint, Reply


class Provider(Protocol):
    """Makes the calls of one kind."""

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        """Make one attempt and translate what came back.

        The caller limits the time. On cancellation the call is aborted and its
        connection or process is closed.

        Raises:
            CallError: it failed; vendor errors never pass.
        """
        ...

    async def close(self) -> None:
        """Give back connections, threads and processes; idempotent."""
        ...
