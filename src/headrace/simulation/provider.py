"""The simulated provider as the engine's `Provider`, in process and on any loop's time.

It is the product's own HTTP provider, dialect and all, over a transport that simulates:
errors, quotas, usage and streams are understood by the code that meets the real ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.model import Call, Endpoint, Reply
from headrace.providers.dialects import Dialect
from headrace.providers.dialects.openai import OPENAI
from headrace.providers.http import HttpProvider
from headrace.simulation.transport import SimulatedTransport
from headrace.simulation.upstream import Upstream

_ANYWHERE = "http://simulated.invalid"


class SimulatedProvider:
    """Answers calls whose payload is an `HttpRequest` from an `Upstream`.

    Args:
        upstream: the model, or one for each endpoint by the endpoint's name.
        clock: of the loop; times given to the upstream are its.
        jitter_s: a request takes from 0 to so many seconds to arrive.
        dialect: how answers are understood.
    """

    def __init__(
        self,
        upstream: Upstream | Mapping[str, Upstream],
        clock: Clock,
        *,
        jitter_s: float = 0.0,
        dialect: Dialect = OPENAI,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._jitter_s = jitter_s
        self._dialect = dialect
        self._places: dict[str, tuple[Endpoint, Endpoint, HttpProvider]] = {}

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        """Make one attempt; as `headrace.ports.Provider` demands."""
        place = self._places.get(endpoint.name)
        if place is None or place[0] is not endpoint:
            place = self._place(endpoint)
            self._places[endpoint.name] = place
        _, addressed, provider = place
        return await provider.send(call, addressed)

    async def close(self) -> None:
        """Forget what was kept for each endpoint; idempotent."""
        self._places.clear()

    def _place(self, endpoint: Endpoint) -> tuple[Endpoint, Endpoint, HttpProvider]:
        addressed = endpoint
        if not endpoint.base_url:
            addressed = msgspec.structs.replace(endpoint, base_url=_ANYWHERE)
        transport = SimulatedTransport(
            self._upstream_of(endpoint), self._clock, jitter_s=self._jitter_s
        )
        provider = HttpProvider(
            self._dialect, _key_of, transport=transport, clock=self._clock
        )
        return endpoint, addressed, provider

    def _upstream_of(self, endpoint: Endpoint) -> Upstream:
        if isinstance(self._upstream, Upstream):
            return self._upstream
        try:
            return self._upstream[endpoint.name]
        except KeyError:
            known = ", ".join(self._upstream)
            raise ConfigError(
                f"no simulated upstream for endpoint {endpoint.name!r}; there are: {known}"
            ) from None


def _key_of(endpoint: Endpoint) -> str | None:
    return os.environ.get(endpoint.key_env) if endpoint.key_env else None
