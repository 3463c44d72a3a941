"""One service with a key, in front of a simulated provider, for all clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from clients_live import client_environment, made_key
from shell_live import Served, provide, providing, serve, serving

__all__ = ["provide", "serve"]


class Place(NamedTuple):
    """A service, and a key that it knows."""

    served: Served
    key: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment that leads the official clients here."""
        return client_environment(self.served, self.key)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Give a service whose provider knows the model `m` and answers within 20 ms."""
    folder = tmp_path_factory.mktemp("clients")
    key = made_key(folder)
    with (
        providing(folder, "--model", "m", "--latency", "constant:0.02") as url,
        serving(folder, "--base-url", url, "--in-flight", "8") as served,
    ):
        yield Place(served, key)
