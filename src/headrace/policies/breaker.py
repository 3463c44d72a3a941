"""Health of one endpoint: a circuit breaker that cannot leak and heeds no old news.

```
           5 failures in a row, or half of >= 10 calls in 30 s; or quota spent
   closed ───────────────────────────────────────────────────────────────► open
     ▲                                                                    │  ▲
     │ a probe succeeds                            due: 5 s, doubled each │  │ a probe
     └───────────────────────────── half_open ◄───── time, up to 300 s ───┘  │ fails
                                        └────────────────────────────────────┘
```

Every admission carries the number of the generation in which it was given, and each
change of state begins a new one: what an older one has to say changes nothing.
Source: gobreaker v2 (generations); resilience4j #2172 (permits that were never given
back); Polly v8 (5 s break, buckets); algorithm notes of this project, section 4.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Health(StrEnum):
    """What one call says of the endpoint it went to."""

    OK = "ok"
    FAIL = "fail"
    NEUTRAL = "neutral"
    """Nothing: our own fault, cancelled, or throttled."""
    GONE = "gone"
    """It failed, and nobody would fare better: nothing listens, or the key is refused."""
    EJECT = "eject"
    """It will take no call at all: quota spent."""


class BreakerRules(msgspec.Struct, frozen=True, gc=False):
    """When an endpoint is cut off, and for how long."""

    bucket_s: float = 3.0
    buckets: int = 10
    """Together the window: 30 s (Finagle, Polly)."""
    min_calls: int = 10
    """Fewer calls in the window say nothing."""
    failure_ratio: float = 0.5
    consecutive: int = 5
    open_s: float = 5.0
    open_cap_s: float = 300.0
    """Doubling ends here (Finagle: 5 s to 300 s)."""
    eject_s: float = 60.0
    """Least pause once no quota is left: that does not come back within seconds."""
    jitter: float = 0.2
    hopeless: int = 10
    """So many failures in a row are more than bad luck: no pool needs this one."""


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Calls and failures of the window that are over; the current bucket is apart."""

    ends_at: float = 0.0
    """When the current bucket ends."""
    calls: int = 0
    failures: int = 0
    past: tuple[tuple[int, int], ...] = ()
    """Calls and failures of each earlier bucket, oldest first."""


RULES = BreakerRules()
_EMPTY = Tally()
_PROBE_FAILED = "a probe failed"


class Breaker(msgspec.Struct, frozen=True, gc=False):
    """Health of one endpoint; a frozen value, each method returns the next one.

    Invariants: open lets nothing through; half-open lets one call through at a time;
    results of older generations change nothing.
    """

    probe_timeout_s: float = 60.0
    """After so long a probe that nobody gave back counts as lost."""
    rules: BreakerRules = RULES
    state: Literal["closed", "open", "half_open"] = "closed"
    generation: int = 0
    calls: int = 0
    """Calls observed in the current bucket."""
    failures: int = 0
    consecutive: int = 0
    """Failures since the last success."""
    tally: Tally = _EMPTY
    retry_at: float | None = None
    """When somebody who was refused should look again; None = now."""
    reason: str = ""
    """Why it was cut off, for people; empty while closed."""
    opened: int = 0
    """Times it was cut off since it was last well."""
    probe_out: bool = False
    is_hard: bool = False
    """Is it of no use at all while cut off? Otherwise it answers now and then, and a
    pool in need uses it."""
    asked_until: float = 0.0
    """It wants no call before, or has no use for one; open only."""

    def admit(self, now: float) -> tuple[Breaker, int | None]:
        """Ask for a permit.

        Returns:
            The breaker afterwards, and the permit; None = refused, see `retry_at`.
            Give the permit to `observe` or `release`, once.
        """
        if self.state == "closed":
            return self, self.generation
        if self.state == "half_open" and not self.probe_out:
            probing = self._probing(self.generation, now)
            return probing, probing.generation
        if self.retry_at is not None and now < self.retry_at:
            return self, None
        # Open and due; or half-open and the probe is lost: its result comes too late.
        probing = self._probing(self.generation + 1, now)
        return probing, probing.generation

    def observe(
        self,
        now: float,
        permit: int,
        verdict: str,
        u: float,
        retry_after_s: float | None = None,
        flying: int = 0,
    ) -> Breaker:
        """Learn what became of an admitted call.

        Args:
            now: monotonic seconds.
            permit: from `admit`.
            verdict: a `Health`.
            u: uniform in [0, 1), spreads the time of the next probe.
            retry_after_s: seconds the provider asked us to wait; a lower bound.
            flying: calls under way that may yet go well: of many started at once, those
                that fail at once end first. 0 = cut off rather than wait for them.
        """
        if permit != self.generation:
            return self
        if verdict == "neutral":
            return self.release(permit)
        if verdict == "eject":
            wait_s = max(self.rules.eject_s, retry_after_s or 0.0)
            return self.parked(now, u, wait_s, "no quota is left")
        is_gone = verdict == "gone"
        failed = is_gone or verdict == "fail"
        if self.state == "half_open":
            if failed:
                hard = is_gone or self.is_hard
                return _cut_off(self, now, u, retry_after_s, _PROBE_FAILED, hard)
            return Breaker(
                self.probe_timeout_s, self.rules, "closed", self.generation + 1
            )
        counted = self.counted(now, failed=failed)
        reason = _sick(counted, 0 if is_gone else flying) if failed else ""
        if not reason:
            return counted
        hard = is_gone or _is_hopeless(counted)
        return _cut_off(counted, now, u, retry_after_s, reason, hard)

    def parked(
        self, now: float, u: float, wait_s: float | None, reason: str
    ) -> Breaker:
        """Cut the endpoint off whatever was counted: it takes no calls at all.

        Args:
            now: monotonic seconds.
            u: uniform in [0, 1).
            wait_s: at least so long; None = the usual time, doubled each time.
            reason: for people.
        """
        out = _cut_off(self, now, u, wait_s, reason, hard=True)
        return _moved(out, out.retry_at, out.retry_at)

    def gone(self, now: float, u: float, reason: str) -> Breaker:
        """Cut the endpoint off: it does not answer, as was found out without a call."""
        return _cut_off(self, now, u, None, reason, hard=True)

    def hastened(self, now: float) -> Breaker:
        """Let it be probed at once, or when it wants to be: it seems well again."""
        if self.state != "open" or self.is_due(now):
            return self
        return _moved(self, max(now, self.asked_until), self.asked_until)

    def held(self, until: float) -> Breaker:
        """Let it not be probed before `until`: it is not well yet."""
        if self.state != "open" or (self.retry_at or 0.0) >= until:
            return self
        return _moved(self, until, self.asked_until)

    def is_due(self, now: float) -> bool:
        """Would `admit` let a probe through? False while closed."""
        if self.state == "half_open" and not self.probe_out:
            return True
        return self.state != "closed" and (
            self.retry_at is None or self.retry_at <= now
        )

    @property
    def success_share(self) -> float:
        """Share of the calls of the window that did not fail, 0 to 1; 1.0 if none."""
        calls = self.calls + self.tally.calls
        return 1.0 - (self.failures + self.tally.failures) / calls if calls else 1.0

    def answered(self, now: float, permit: int) -> Breaker:
        """Learn that a call went well: `observe` of `ok`, for a closed breaker only.

        Nearly every call ends so: half the price (measured).
        """
        if permit != self.generation:
            return self
        if now >= self.tally.ends_at:
            return self.counted(now, failed=False)
        return Breaker(
            self.probe_timeout_s,
            self.rules,
            "closed",
            permit,
            self.calls + 1,
            self.failures,
            0,
            self.tally,
        )

    def release(self, permit: int) -> Breaker:
        """Give a permit back: the call was cancelled, or says nothing."""
        if permit != self.generation or not self.probe_out:
            return self
        return Breaker(
            self.probe_timeout_s,
            self.rules,
            "half_open",
            self.generation,
            reason=self.reason,
            opened=self.opened,
            is_hard=self.is_hard,
        )

    def counted(self, now: float, *, failed: bool) -> Breaker:
        """Return the breaker with one more call in its window, closed as it was.

        For `observe`, and for who must not cut the endpoint off (`health.may_eject`).
        """
        calls, failures, tally = self.calls, self.failures, self.tally
        if now >= tally.ends_at:
            tally = _rolled(self, now)
            calls = failures = 0
        return Breaker(
            self.probe_timeout_s,
            self.rules,
            "closed",
            self.generation,
            calls + 1,
            failures + 1 if failed else failures,
            self.consecutive + 1 if failed else 0,
            tally,
        )

    def _probing(self, generation: int, now: float) -> Breaker:
        return Breaker(
            self.probe_timeout_s,
            self.rules,
            "half_open",
            generation,
            retry_at=now + self.probe_timeout_s,
            reason=self.reason,
            opened=self.opened,
            probe_out=True,
            is_hard=self.is_hard,
        )


def _rolled(breaker: Breaker, now: float) -> Tally:
    """Return the window once the current bucket is over."""
    rules, tally = breaker.rules, breaker.tally
    gap = int((now - tally.ends_at) / rules.bucket_s)
    past: tuple[tuple[int, int], ...] = ()
    if gap < rules.buckets:
        past = (*tally.past, (breaker.calls, breaker.failures), *(((0, 0),) * gap))
        past = past[1 - rules.buckets :]
    return Tally(
        tally.ends_at + (gap + 1) * rules.bucket_s if past else now + rules.bucket_s,
        sum(calls for calls, _ in past),
        sum(failures for _, failures in past),
        past,
    )


def _sick(breaker: Breaker, flying: int) -> str:
    """Return why the endpoint is to be cut off, or nothing."""
    rules, tally = breaker.rules, breaker.tally
    if breaker.consecutive >= rules.consecutive + rules.failure_ratio * flying:
        return f"{breaker.consecutive} failures in a row"
    calls = breaker.calls + tally.calls
    failures = breaker.failures + tally.failures
    share = failures / (calls + flying)
    if calls >= rules.min_calls and share >= rules.failure_ratio:
        window_s = rules.bucket_s * rules.buckets
        return f"{failures} of {calls} calls failed within {window_s:g} s"
    return ""


def _is_hopeless(breaker: Breaker) -> bool:
    """Did nothing succeed within the window, or nothing for long?"""
    calls = breaker.calls + breaker.tally.calls
    failures = breaker.failures + breaker.tally.failures
    return failures == calls or breaker.consecutive >= breaker.rules.hopeless


def _cut_off(
    breaker: Breaker,
    now: float,
    u: float,
    retry_after_s: float | None,
    reason: str,
    hard: bool,  # noqa: FBT001  a fact about the failure
) -> Breaker:
    """Return the breaker open, each time in a row for twice as long."""
    rules, opened = breaker.rules, breaker.opened + 1
    wait_s = min(rules.open_cap_s, rules.open_s * 2.0 ** min(opened - 1, 30))
    wait_s *= 1.0 - rules.jitter + 2.0 * rules.jitter * u
    if retry_after_s is not None and retry_after_s > wait_s:
        wait_s = retry_after_s
    return Breaker(
        breaker.probe_timeout_s,
        rules,
        "open",
        breaker.generation + 1,
        retry_at=now + wait_s,
        reason=reason,
        opened=opened,
        is_hard=hard,
        asked_until=now + retry_after_s if retry_after_s is not None else 0.0,
    )


def _moved(
    breaker: Breaker, retry_at: float | None, asked_until: float | None
) -> Breaker:
    """Return an open breaker that is to be probed at another time."""
    return Breaker(
        breaker.probe_timeout_s,
        breaker.rules,
        "open",
        breaker.generation,
        retry_at=retry_at,
        reason=breaker.reason,
        opened=breaker.opened,
        is_hard=breaker.is_hard,
        asked_until=asked_until or 0.0,
    )
