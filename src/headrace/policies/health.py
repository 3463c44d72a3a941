"""What is known of an endpoint beside its breaker, and what a pool does about the sick.

A breaker (`policies/breaker.py`) judges one endpoint. Whether its pool can do without
that endpoint is judged here.
"""

from __future__ import annotations

import math

import msgspec

DECAY_S = 10.0
"""Source: Finagle, peak EWMA, decay 10 s."""
_MEAN_CALLS = 64
"""The mean moves by 1/64 of each call: with cv 2 it is right to about a third."""
_SURE_CALLS = 20
"""Fewer calls say nothing of how fast an endpoint is."""
_SLOW_FACTOR = 5.0
"""An endpoint so much slower may be left idle: that costs at most a fifth of what one
of the others does."""
_RETEST_S = 30.0
"""A slow endpoint that nobody used for so long gets one call, to see whether it is."""
EJECTION_SHARE = 0.5
"""Share of a pool that may be cut off for failing sometimes.

Source: algorithm notes of this project, section 4; Envoy has 10 %, for larger pools.
"""
PANIC_SHARE = 0.5
"""With fewer healthy than that, those that fail sometimes are used again (Envoy)."""
SLOW_START_S = 30.0
SLOW_START_LEAST = 0.1
"""Source: Envoy, slow start, `min_weight_percent` 10 %, aggression 1."""
_REFUSALS = 10
_REFUSED_S = 60.0


class Latency(msgspec.Struct, frozen=True, gc=False):
    """How long the calls that an endpoint answered took; failures are not counted.

    Error replies are fast: counted, they would draw calls to a failing endpoint.
    Source: Finagle, `PeakEwma` (up at once, down by exp(-dt / 10 s)); Vector #3493. We
    differ: it falls with time only while the endpoint is idle, for with calls of a
    minute in flight ten seconds of silence mean nothing.
    """

    peak_s: float = 0.0
    """0.0 = unknown."""
    mean_s: float = 0.0
    """Of about the last 64 calls."""
    calls: int = 0
    at: float = 0.0
    """When the last of them was answered."""

    def answered(self, now: float, duration_s: float) -> Latency:
        """Return the latency after a call that was answered in `duration_s`."""
        peak_s, calls = self.peak_s, self.calls
        if duration_s < peak_s:
            old = math.exp((self.at - now) / DECAY_S)
            duration_peak_s = duration_s + (peak_s - duration_s) * old
        else:
            duration_peak_s = duration_s
        if calls < _MEAN_CALLS:
            calls += 1
        mean_s = self.mean_s + (duration_s - self.mean_s) / calls
        return Latency(duration_peak_s, mean_s, calls, now)

    def value(self, now: float, in_flight: int) -> float:
        """Return the peak as it stands now; 0.0 = unknown."""
        if in_flight or not self.peak_s:
            return self.peak_s
        return self.peak_s * math.exp((self.at - now) / DECAY_S)

    def is_sure(self) -> bool:
        """Have enough calls been answered to compare endpoints?"""
        return self.calls >= _SURE_CALLS

    def is_due(self, now: float, in_flight: int) -> bool:
        """Has nobody looked for long whether a slow endpoint still is?"""
        return not in_flight and now - self.at >= max(_RETEST_S, 10.0 * self.mean_s)


NO_LATENCY = Latency()


def is_worth_waiting(slow_s: float, fast_s: float, frees_s: float) -> bool:
    """Is it better to wait for a slot of a fast endpoint than to use a slow one now?

    Args:
        slow_s: mean duration of a call on the endpoint that is free.
        fast_s: the same on the fastest of those that are full.
        frees_s: expected seconds until this call's turn on one of those.

    Source: Lin and Kumar 1984, the slow server problem: a slow server is used only if
    the queue is long enough. We ask for a factor of 5 besides, since how long the queue
    is we know only about.
    """
    return slow_s >= _SLOW_FACTOR * fast_s and frees_s + fast_s < slow_s


def may_eject(ejected: int, pool: int) -> bool:
    """May one more endpoint be cut off for failing sometimes?

    Args:
        ejected: cut off so already.
        pool: endpoints in all, >= 1.
    """
    return ejected < max(1, int(pool * EJECTION_SHARE))


def is_panic(healthy: int, pool: int) -> bool:
    """Are so few healthy that those that fail sometimes must help?

    Never for a pool of one: a batch is better paused than failed.
    """
    return pool > 1 and healthy < pool * PANIC_SHARE


def warmth(age_s: float) -> float:
    """Return the share of its weight that an endpoint has `age_s` after it came (back).

    Returns:
        0.1 at once, growing evenly to 1.0 after 30 s.
    """
    return max(SLOW_START_LEAST, min(1.0, age_s / SLOW_START_S))


class Refusals(msgspec.Struct, frozen=True, gc=False):
    """Calls that an endpoint refused (429) since it last answered one."""

    count: int = 0
    since: float = 0.0

    def refused(self, now: float) -> Refusals:
        """Return the count after one more."""
        return Refusals(self.count + 1, self.since if self.count else now)

    def is_hopeless(self, now: float, latency: Latency) -> bool:
        """Has it refused at least 10 calls and answered none for a minute or longer?

        Longer where calls are long: three times the peak of their durations, which is
        above the 99th percentile of the recent ones.
        Source: algorithm notes of this project, section 4 (DataDesigner #575); that has
        20, but what is learnt of its rate lets few calls through to a refuser.
        """
        quiet_s = max(_REFUSED_S, 3.0 * latency.peak_s)
        return self.count >= _REFUSALS and now - self.since >= quiet_s


NO_REFUSALS = Refusals()
