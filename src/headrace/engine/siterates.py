"""The rates of one endpoint: those stated, and those learnt of each model."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from headrace.model import Call, Limits, Quota, Usage
from headrace.policies.lesson import Setting
from headrace.policies.rate import RateLimit, build_rate
from headrace.policies.ratebook import (
    ModelRates,
    Refusal,
    Sent,
    gives_nothing_back,
    start_of,
)
from headrace.policies.ratenotes import Note, noted, recalled

_MODELS = 256
"""Models of which limits are learnt; of more, a refusal pauses only."""
_MARK_S = 5.0
_MARKS = 12
_NOTHING = ModelRates()
NO_REFUNDS = "refused for tokens below our own count: it keeps what calls reserve"
LATENESS_S = 0.02
"""How late after its scheduled time a call may start; counted as jitter in the rate."""


class Hold(msgspec.Struct, frozen=True, gc=False):
    """What one call has reserved of the rates of one endpoint."""

    start_at: float
    """When it may start."""
    costs: tuple[float, ...] = ()
    model: str = ""
    learnt: tuple[float, ...] = ()
    """Likewise, of what was learnt of the model."""


NO_HOLD = Hold(0.0)


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """How the rates of one endpoint stood for one model."""

    stated: RateLimit
    learnt: ModelRates | None


class SiteRates:
    """All that is known of the rates of one endpoint; `Site` adds the rest."""

    __slots__ = (
        "_mark_at",
        "_marks",
        "_setting",
        "answers",
        "in_flight",
        "learnt",
        "note",
        "quotas",
        "rate",
        "tokens",
    )

    def __init__(self, limits: Limits) -> None:
        self.in_flight = 0
        self.rate: RateLimit = build_rate(_with_lateness(limits))
        self.learnt: dict[str, ModelRates] = {}
        """By model; empty while nothing is known but what was stated."""
        self.quotas: tuple[Quota, ...] = ()
        self.note = ""
        self.answers = 0
        self.tokens = 0
        """Reserved by the calls that were answered."""
        self._setting = Setting(
            limits.jitter_s + LATENESS_S, limits.token_accounting or "reserved"
        )
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=_MARKS + 1)
        self._mark_at = 0.0

    def rate_fits(self, call: Call, tokens: int) -> str | None:
        """Return the stated limit that could never hold the call, or None."""
        return self.rate.fits(self.rate.costs(tokens)) if self.rate.dims else None

    def rate_at(self, call: Call, tokens: int, now: float) -> float:
        """Return when the rates let the call start, >= `now`; inf = never."""
        rate = self.rate
        learnt = self.learnt.get(call.model) if self.learnt else None
        if learnt is None:
            return rate.earliest(now, rate.costs(tokens))
        return start_of(rate, rate.costs(tokens), learnt, learnt.costs(call.cost), now)

    def rate_bound(self, call: Call, tokens: int, now: float) -> str:
        """Return which rate makes the call wait, a learnt one as `learnt_…`; or ""."""
        stated = self.rate.binding(now, self.rate.costs(tokens))
        learnt = self.learnt.get(call.model)
        if learnt is None:
            return stated
        free_at = self.rate.earliest(now, self.rate.costs(tokens))
        bound = learnt.binding(free_at, call.cost)
        return f"learnt_{bound}" if bound else stated

    def waits_for_learnt(self, call: Call, tokens: int, now: float) -> bool:
        """Is it a learnt limit, and none that models share, that holds the call?

        Then its start is not reserved ahead: nothing but its own lane can overtake it,
        and other models must not wait for it.
        """
        if call.model not in self.learnt:
            return False
        shared_at = self.rate.earliest(now, self.rate.costs(tokens))
        return self.rate_at(call, tokens, now) > shared_at

    def rate_headroom(self, call: Call, now: float) -> float:
        """Return the least share left of any rate limit, 0 to 1."""
        learnt = self.learnt.get(call.model)
        room = self.rate.headroom(now)
        return room if learnt is None else min(room, learnt.rate.headroom(now))

    def reserve(self, call: Call, tokens: int, now: float) -> Hold:
        """Take what the call needs of all rates, from its earliest start on."""
        costs, model = self.rate.costs(tokens), call.model
        learnt = self.learnt.get(model) if self.learnt else None
        if learnt is None:
            self.rate, start_at = self.rate.reserve(now, costs)
            return Hold(start_at, costs)
        own = learnt.costs(call.cost)
        at = start_of(self.rate, costs, learnt, own, now)
        self.rate, _ = self.rate.reserve(at, costs)
        after, start_at = learnt.rate.reserve(at, own)
        self.learnt[model] = learnt.with_rate(after)
        return Hold(start_at, costs, model, own)

    def give_back(self, hold: Hold) -> None:
        """Undo a reservation: its call was never sent."""
        self.rate = self.rate.give_back(hold.costs, hold.start_at)
        if hold.learnt:
            learnt = self.learnt[hold.model]
            self.learnt[hold.model] = learnt.give_back(hold.learnt, hold.start_at)

    def settle(self, call: Call, hold: Hold, usage: Usage, now: float) -> None:
        """Correct a reservation once it is known what the call used."""
        rate = self.rate
        if rate.terms.settles:
            used = rate.costs(usage.total_tokens)
            self.rate = rate.settle(now, hold.costs, used, hold.start_at)
        if hold.learnt:
            learnt = self.learnt[hold.model]
            self.learnt[hold.model] = learnt.settle(
                now, hold.learnt, usage, hold.start_at
            )

    # ---- rates learnt

    def answered(self, call: Call, quotas: tuple[Quota, ...], now: float) -> None:
        """Note a call that was answered, and what its headers say of limits."""
        self.answers += 1
        self.tokens += call.cost.tokens
        if now >= self._mark_at:
            self._mark_at = now + _MARK_S
            self._marks.append((now, self.answers, self.tokens))
        if quotas:
            self.quotas = quotas
        elif not self.learnt:
            return
        before = self.learnt.get(call.model, _NOTHING)
        if before is _NOTHING and (not quotas or len(self.learnt) >= _MODELS):
            return
        after = before.observe(now, quotas, self._sent(call, now), self._setting)
        if after is not before:
            self.learnt[call.model] = after

    def refused(self, call: Call, refusal: Refusal, now: float, u: float) -> bool:
        """Learn from a refusal for rate; return whether it holds the calls back.

        If not, the caller pauses the model.
        """
        dimension = refusal.dimension
        if dimension is not None and gives_nothing_back(self.rate, now, dimension):
            self.rate = self.rate.without_refunds(now)
            self._keep_reserved()
        before = self.learnt.get(call.model, _NOTHING)
        if before is _NOTHING and len(self.learnt) >= _MODELS:
            return False
        if dimension is not None and gives_nothing_back(before.rate, now, dimension):
            before = before.with_rate(before.rate.without_refunds(now))
            self._keep_reserved()
        sent = self._sent(call, now)
        self.learnt[call.model] = before.refused(now, refusal, u, sent, self._setting)
        return dimension is not None

    def _keep_reserved(self) -> None:
        self._setting = Setting(self._setting.jitter_s, "reserved")
        self.note = NO_REFUNDS

    def _sent(self, call: Call, now: float) -> Sent:
        """Return what was started within about the last minute, of all models."""
        marks = self._marks
        while len(marks) > 1 and marks[0][0] < now - _MARKS * _MARK_S:
            marks.popleft()
        _, answers, tokens = marks[0] if marks else (0.0, 0, 0)
        flying = self.in_flight
        return Sent(
            float(self.answers - answers + flying),
            float(self.tokens - tokens + flying * call.cost.tokens),
        )

    def move_rates(self, limits: Limits, now: float) -> None:
        """Let other numbers hold for the same rates; what was taken stays taken."""
        self.rate = self.rate.restated(now, build_rate(_with_lateness(limits)))
        if self.note == NO_REFUNDS:
            self.rate = self.rate.without_refunds(now)

    def notes(self, now: float) -> list[Note]:
        """Return what was learnt, for the next process."""
        return [n for m, rates in self.learnt.items() for n in noted(m, rates, now)]

    def recall(self, notes: Sequence[Note], now: float, away_s: float) -> None:
        """Begin with what an earlier process learnt; see `notes`."""
        self.learnt = recalled(notes[:_MODELS], now, away_s, self._setting)

    def snapshot(self, model: str) -> Snapshot:
        """Return the state of all rates that a call of `model` meets."""
        return Snapshot(self.rate, self.learnt.get(model))

    def is_at(self, model: str, rates: Snapshot) -> bool:
        """Have the rates not moved since this snapshot?"""
        return rates.stated is self.rate and rates.learnt is self.learnt.get(model)

    def restore(self, model: str, rates: Snapshot) -> None:
        """Return to a snapshot just taken: nothing has happened since."""
        self.rate = rates.stated
        if rates.learnt is not None:
            self.learnt[model] = rates.learnt


def _with_lateness(limits: Limits) -> Limits:
    return Limits(
        limits.in_flight,
        limits.calls_per_minute,
        limits.tokens_per_minute,
        limits.jitter_s + LATENESS_S,
        limits.token_accounting,
        limits.max_in_flight,
    )
