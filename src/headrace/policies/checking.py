"""When an endpoint is asked whether it is well, and what its answer means.

```
 cut off ───────► check at once, then after 5, 10, 20 and each 30 s
 idle for 30 s ─► check each 30 s, after a failure each 5 s; 3 failures: cut off
 busy, probed ──► no check: real calls say more
```

Source: HAProxy (`inter`, `fastinter`, `fall 3`); design notes of this project, 6.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from headrace.policies.breaker import Breaker

INTERVAL_S = 30.0
TIME_LIMIT_S = 10.0
FAILURES = 3
FAST_S = 5.0
"""After a failure, or a cut-off: as soon as the breaker itself would look again."""
LOOK_S = 2.0
"""How often somebody looks whether a check is due; at most so much later it is made."""
_LONGEST_OUT_S = 300.0
"""A real call goes there after so long, whatever the checks say: they may be wrong."""
_ABSENT = frozenset({404, 405, 501})
_SAY_NOTHING = frozenset({401, 403, 429})
"""A key may be allowed to call models and not to list them; 429 is for the rates."""


class Finding(StrEnum):
    """What one check says of its endpoint."""

    WELL = "well"
    ILL = "ill"
    NOTHING = "nothing"
    ABSENT = "absent"
    """There is no cheap check at this path."""


def finding_of(status: int, body: bytes) -> Finding:
    """Return what the answer to a check means.

    Args:
        status: of HTTP.
        body: at least its start; a web page is no answer of an API.
    """
    if status in _ABSENT or 300 <= status < 400:
        return Finding.ABSENT
    if 200 <= status < 300:
        is_page = body.lstrip()[:1] == b"<"
        return Finding.ABSENT if is_page else Finding.WELL
    if status >= 500:
        return Finding.ILL
    return Finding.NOTHING if status in _SAY_NOTHING else Finding.ABSENT


class Checks(msgspec.Struct, frozen=True, gc=False):
    """The checks of one endpoint; a frozen value, each method returns the next one.

    Invariants: none is made of an endpoint that is busy and well, or being probed; two
    are at least 5 s apart, of an endpoint that is well 30 s.
    """

    paths: tuple[str, ...]
    """Those that may be asked; the first one is. Empty: never again."""
    failures: int = 0
    """Failed checks since one succeeded."""
    made: int = 0
    """Checks since it was cut off, or is well again."""
    made_at: float = -math.inf
    started: int = 0
    """Calls that had ever started there when last seen."""
    quiet_since: float = 0.0
    generation: int = 0
    """Of its breaker when last seen."""
    is_out: bool = False
    out_since: float = 0.0
    """When it was cut off, or a call failed there last."""
    is_doubted: bool = False
    """Did calls go well while the checks failed?"""

    def seen(
        self, now: float, breaker: Breaker, started: int, in_flight: int
    ) -> Checks:
        """Note how the endpoint stands; to be called before each `is_due`."""
        is_out = breaker.state != "closed"
        is_moved = in_flight > 0 or started != self.started
        if not is_moved and breaker.generation == self.generation:
            return self
        is_turned = is_out != self.is_out
        is_back = is_turned and not is_out
        is_worked = is_back or (is_moved and not is_out)
        return Checks(
            self.paths,
            0 if is_worked else self.failures,
            0 if is_turned else self.made,
            self.made_at,
            started,
            now if is_moved or is_back else self.quiet_since,
            breaker.generation,
            is_out,
            now if breaker.generation != self.generation else self.out_since,
            self.failures > 0 if is_back else self.is_doubted,
        )

    def is_due(self, now: float, breaker: Breaker) -> bool:
        """Is a check to be made now?"""
        if not self.paths or breaker.state == "half_open":
            return False
        if breaker.state == "closed" and now - self.quiet_since < INTERVAL_S:
            return False
        return now - self.made_at >= self._interval_s(self.made)

    def found(self, now: float, finding: Finding) -> Checks:
        """Return the checks after one more."""
        is_ill = finding is Finding.ILL
        paths = self.paths
        if finding is Finding.ABSENT:
            paths = paths[1:]
        elif is_ill and self.is_doubted:
            paths = ()
        failures = self.failures + is_ill
        return Checks(
            paths,
            0 if finding is Finding.WELL else failures,
            self.made + 1,
            now,
            self.started,
            self.quiet_since,
            self.generation,
            self.is_out,
            self.out_since,
            self.is_doubted and finding is not Finding.WELL,
        )

    def judge(
        self,
        breaker: Breaker,
        now: float,
        u: float,
        finding: Finding,
        *,
        has_other: bool,
    ) -> Breaker:
        """Return the endpoint's breaker after a check; to be called before `found`.

        A success makes the next probe due only if a check had failed: else whatever
        fails there is nothing that a check can see.

        Args:
            breaker: as it was when the check began, else the check is old news.
            now: monotonic seconds.
            u: uniform in [0, 1).
            finding: what the check said.
            has_other: can others take its calls? Else only calls judge it.
        """
        if breaker.generation != self.generation:
            return breaker
        if finding is Finding.WELL and self.failures:
            return breaker.hastened(now)
        if finding is not Finding.ILL or not has_other or self.is_doubted:
            return breaker
        if breaker.state == "open":
            late_s = TIME_LIMIT_S + 2.0 * LOOK_S
            until = now + self._interval_s(self.made + 1) + late_s
            return breaker.held(min(until, self.out_since + _LONGEST_OUT_S))
        if breaker.state == "closed" and self.failures + 1 >= FAILURES:
            return breaker.gone(now, u, f"{self.failures + 1} checks in a row failed")
        return breaker

    def _interval_s(self, made: int) -> float:
        """Return the pause between the last check and the next one."""
        if not self.is_out:
            return FAST_S if self.failures else INTERVAL_S
        return min(INTERVAL_S, FAST_S * 2.0 ** min(max(0, made - 1), 10))
