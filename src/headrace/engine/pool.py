"""Endpoints that come and go while a route is served; no call is lost by it.

```
add ──► pool (slow start) ──► drain ──► draining ──► drained ──► restore ──► pool
                         └──► remove ──► gone once its last call has ended
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from headrace.engine.changing import change_site, changes_of
from headrace.engine.gate import Gate
from headrace.engine.site import Site
from headrace.errors import ConfigError
from headrace.events import EndpointView
from headrace.model import Endpoint

Prepare = Callable[[Endpoint], Endpoint]
"""Settles what an endpoint leaves open; a ConfigError refuses it."""


class Pool:
    """The endpoints of one served route, which may change while calls are made.

    Args:
        gate: lets calls go to them.
        prepare: applied to each endpoint that comes.
        changed: told all endpoints that take calls, after each change.

    Invariant: there is always an endpoint that takes calls; a call that has begun ends
    where it is.
    """

    def __init__(
        self,
        gate: Gate,
        prepare: Prepare,
        changed: Callable[[Sequence[Endpoint]], None],
    ) -> None:
        self._gate = gate
        self._prepare = prepare
        self._changed = changed
        self._removed: list[Site] = []
        """They are shown until their last call has ended."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that take calls, in the order in which they came."""
        return tuple(site.endpoint for site in self._gate.sites)

    def why_cut_off(self) -> str:
        """Return why no endpoint is of use now; empty while one may be."""
        breakers = [site.breaker for site in self._gate.sites]
        if any(b.state == "closed" or not b.is_hard for b in breakers):
            return ""
        return breakers[0].reason

    def views(self) -> tuple[EndpointView, ...]:
        """Return how each endpoint stands; those that take no calls are last."""
        self._forget()
        return self._gate.views()

    def add(self, endpoint: Endpoint) -> None:
        """Let calls go to one more endpoint, few at first.

        Raises:
            ConfigError: it is refused, or its name or account is in the pool already.
        """
        self._forget()
        gate = self._gate
        held = [site.endpoint for site in (*gate.sites, *gate.leaving)]
        prepared = self._prepare(endpoint)
        check_pool((*held, prepared))
        site = gate.maker.make(prepared)
        site.warm_up(gate.clock.monotonic())
        self._use([*gate.sites, site])

    def drain(self, name: str) -> None:
        """Start no more calls at an endpoint; those under way end there.

        It stays listed, and `restore` brings it back with all that was learnt of it.
        Draining it again changes nothing.

        Raises:
            ConfigError: there is none of that name, or it is the last.
        """
        site = self._site(name)
        gate = self._gate
        if site.emptied is not None:
            return
        if len(gate.sites) == 1:
            raise ConfigError(
                f"endpoint {name!r} is the last that takes calls; add another one first"
            )
        site.emptied = asyncio.Event()
        if not site.in_flight:
            site.emptied.set()
        gate.leaving = [*gate.leaving, site]
        self._use([other for other in gate.sites if other is not site])

    def restore(self, name: str) -> None:
        """Let calls go again to an endpoint that was drained, few at first.

        Raises:
            ConfigError: there is none of that name.
        """
        site = self._site(name)
        gate = self._gate
        if site.emptied is None:
            return
        site.emptied.set()
        site.emptied = None
        gate.leaving = [other for other in gate.leaving if other is not site]
        site.warm_up(gate.clock.monotonic())
        self._use(sorted([*gate.sites, site], key=_index))

    def remove(self, name: str) -> None:
        """Drain an endpoint and forget it once its last call has ended.

        Raises:
            ConfigError: there is none of that name, or it is the last.
        """
        site = self._site(name)
        self.drain(name)
        self._removed.append(site)
        self._forget()

    def reweigh(self, name: str, weight: float) -> None:
        """Change an endpoint's share of the work.

        Args:
            name: which.
            weight: beside those of the others, > 0.

        Raises:
            ConfigError: there is none of that name, or the weight is not above 0.
        """
        site = self._site(name)
        try:
            site.endpoint = msgspec.structs.replace(site.endpoint, weight=weight)
        except ValueError as error:
            raise ConfigError(
                f"endpoint {name!r}: {error}; to give it no calls, drain it"
            ) from None

    def change(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Let the endpoint of that name be as stated here; what was learnt is kept.

        Weight, tier, models, prices and the numbers of its limits may change.

        Returns:
            The names of the fields that were changed; empty if none differs.

        Raises:
            ConfigError: there is none of that name, or something else would change.
        """
        site = self._site(endpoint.name)
        prepared = self._prepare(endpoint)
        changed = changes_of(site.endpoint, prepared)
        if changed:
            change_site(site, prepared, self._gate.clock.monotonic())
            self._use(self._gate.sites)
        return changed

    def check(self, wanted: Sequence[Endpoint]) -> None:
        """Refuse what `add` or `change` would refuse of `wanted`; change nothing.

        Raises:
            ConfigError: the first that is refused.
        """
        self._forget()
        check_pool(wanted)
        gate = self._gate
        held = [site.endpoint for site in (*gate.sites, *gate.leaving)]
        taking = {site.endpoint.name: site.endpoint for site in gate.sites}
        for endpoint in wanted:
            prepared = self._prepare(endpoint)
            if (before := taking.get(endpoint.name)) is not None:
                changes_of(before, prepared)
            else:
                held.append(prepared)
        check_pool(held)

    async def wait_drained(self, name: str) -> None:
        """Wait until no call is under way at an endpoint that was drained or removed.

        Returns at once if there is none of that name, or if it is restored meanwhile.

        Raises:
            ConfigError: it takes calls, so the wait might have no end.
        """
        for site in self._gate.leaving:
            if site.endpoint.name == name and site.emptied is not None:
                await site.emptied.wait()
                self._forget()
                return
        if any(site.endpoint.name == name for site in self._gate.sites):
            raise ConfigError(f"endpoint {name!r} takes calls; drain it first")

    def _use(self, sites: list[Site]) -> None:
        self._gate.use(sites)
        self._changed(self.endpoints)

    def _site(self, name: str) -> Site:
        self._forget()
        known = [
            site
            for site in (*self._gate.sites, *self._gate.leaving)
            if site not in self._removed
        ]
        for site in known:
            if site.endpoint.name == name:
                return site
        names = ", ".join(site.endpoint.name for site in known)
        raise ConfigError(f"endpoint: given {name[:80]!r}, allowed {names}")

    def _forget(self) -> None:
        gone = [site for site in self._removed if not site.in_flight]
        if gone:
            self._removed = [s for s in self._removed if s not in gone]
            gate = self._gate
            gate.leaving = [s for s in gate.leaving if s not in gone]


def check_pool(endpoints: Sequence[Endpoint]) -> None:
    """Refuse endpoints that cannot be told apart, or count one account twice.

    One address may stand twice with different keys or headers: those are accounts with
    limits of their own.

    Raises:
        ConfigError: no endpoint, or two of one name or one account; names them.
    """
    if not endpoints:
        raise ConfigError("endpoints: given none, allowed at least one")
    names: set[str] = set()
    accounts: dict[tuple[object, ...], str] = {}
    for endpoint in endpoints:
        name = endpoint.name
        if not name or name in names:
            raise ConfigError(
                f"endpoint: given the name {name!r} twice, allowed each once"
                if name
                else "endpoint: given no name, allowed any that no other one has"
            )
        names.add(name)
        account = (endpoint.base_url, endpoint.key_env, endpoint.headers)
        other = accounts.setdefault(account, name)
        if endpoint.base_url and other != name:
            raise ConfigError(
                f"endpoints {other!r} and {name!r}: given one address with one key "
                "twice, allowed each once: their limits would be counted twice"
            )


def _index(site: Site) -> int:
    return site.index
