"""One priority of those who wait: its tenants, their jobs, and the entries of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from headrace.policies.fair_order import SLACK, FairOrder, Member, merged

T = TypeVar("T")


class Waiting(msgspec.Struct, Generic[T], eq=False):
    """An entry in its place."""

    entry: T
    flow: Asker[T]
    cost: float
    pushed_at: float
    gone: bool = False


class Tenant(Member, Generic[T]):
    """The jobs of one tenant within one class."""

    __slots__ = ("jobs",)

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.jobs: FairOrder[Asker[T]] = FairOrder()


class Asker(Member, Generic[T]):
    """The entries of one job of a tenant within one class."""

    __slots__ = ("home", "line", "tenant")

    def __init__(self, key: str, tenant: Tenant[T], home: Rank[T]) -> None:
        super().__init__(key)
        self.tenant = tenant
        self.home = home
        self.line: deque[Waiting[T]] = deque()

    def head(self) -> Waiting[T]:
        """Return the first entry that still waits; there is one."""
        line = self.line
        while line[0].gone:
            line.popleft()
        return line[0]


class Rank(Generic[T]):
    """All tenants of one priority."""

    __slots__ = (
        "aged_finish",
        "arrivals",
        "below",
        "debt",
        "finish",
        "flows",
        "live",
        "oldest_at",
        "order",
        "share",
        "sweep_at",
        "tenants",
    )

    def __init__(self, share: float, below: Rank[T] | None) -> None:
        self.share = share
        self.below = below
        self.finish = 0.0
        self.debt = 0.0
        """Cost / share to be added when next an entry goes in its turn."""
        self.aged_finish = 0.0
        """Finish tag of the flow made of all aged entries of the class below."""
        self.live = 0
        self.sweep_at = SLACK
        self.oldest_at = 0.0
        """No entry that waits was pushed before; exact after `oldest`."""
        self.order: FairOrder[Tenant[T]] = FairOrder()
        self.tenants: dict[str, Tenant[T]] = {}
        self.flows: dict[str, Asker[T]] = {}
        self.arrivals: deque[Waiting[T]] = deque()
        """Entries in order of arrival; the gone ones are swept now and then."""

    def new_flow(self, key: str) -> Asker[T]:
        """Return a flow not known before."""
        if len(self.flows) >= self.sweep_at:
            self._forget_idle()
        tenant = self.tenant(tenant_of(key))
        flow = self.flows[key] = Asker(key, tenant, self)
        return flow

    def tenant(self, name: str) -> Tenant[T]:
        """Return a tenant, new or known."""
        tenant = self.tenants.get(name)
        if tenant is None:
            tenant = self.tenants[name] = Tenant(name)
        return tenant

    def _forget_idle(self) -> None:
        """Drop what is idle and whose finish tag the virtual time has passed."""
        self.flows = {
            key: flow
            for key, flow in self.flows.items()
            if flow.live or flow.finish > flow.tenant.jobs.virtual
        }
        used = {flow.tenant.key for flow in self.flows.values()}
        self.tenants = {
            key: tenant
            for key, tenant in self.tenants.items()
            if key in used or tenant.finish > self.order.virtual
        }
        self.sweep_at = 2 * len(self.flows) + SLACK

    def next_flow(self) -> Asker[T] | None:
        """Return the flow whose turn it is."""
        tenant = self.order.first()
        return None if tenant is None else tenant.jobs.first()

    def oldest(self) -> Waiting[T]:
        """Return the entry that has waited longest; there is one."""
        arrivals = self.arrivals
        while arrivals[0].gone:
            arrivals.popleft()
        self.oldest_at = arrivals[0].pushed_at
        return arrivals[0]

    def dispatched(self, flow: Asker[T], cost: float) -> None:
        """Move the tags on after an entry of `flow` has gone."""
        tenant = flow.tenant
        tenant.jobs.served(flow, cost, was_last=not tenant.live)
        self.order.served(tenant, cost, was_last=not self.live)

    def ahead(self) -> Iterator[Waiting[T]]:
        """Yield entries in the order in which they would go; aged ones apart."""
        return merged(
            (tenant.start, 1.0, _ahead_of(tenant)) for tenant in self.order.ahead()
        )


def _ahead_of(tenant: Tenant[T]) -> Iterator[Waiting[T]]:
    return merged(
        (flow.start, 1.0, (place for place in flow.line if not place.gone))
        for flow in tenant.jobs.ahead()
    )


def tenant_of(flow: str) -> str:
    """Return whose flow it is: `tenant/job` names both, else it stands for itself."""
    return flow.rpartition("/")[0] if "/" in flow else flow
