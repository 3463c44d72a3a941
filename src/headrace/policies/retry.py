"""Whether a failed call is tried again, when, and what its failure says of others."""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from headrace.errors import CallError, ErrorCode, PermanentError
from headrace.model import Retry
from headrace.policies.breaker import Health
from headrace.policies.concurrency import Verdict


class ErrorRule(msgspec.Struct, frozen=True, gc=False):
    """What one kind of failure means."""

    retries: bool = False
    base_s: float = 0.0
    """First back-off; doubles with each failure in a row, up to `Retry.cap_s`."""
    spends_attempt: bool = True
    needs_repeatable: bool = False
    """Was it perhaps carried out? Then only a repeatable call is sent again."""
    breaker: Health = Health.NEUTRAL
    limiter: Verdict = Verdict.IGNORED
    budget_cost: float = 0.0
    """What trying again takes from the endpoint's `RetryBudget`."""
    waits_half: bool = False
    """Wait at least half of the back-off: at once would be refused again."""


_NOT_AGAIN = ErrorRule()

_RULES = MappingProxyType(
    {
        # 429: the limiter's business. Base 1 s as botocore v2.1 for throttling.
        ErrorCode.RATE_LIMITED: ErrorRule(
            retries=True,
            base_s=1.0,
            spends_attempt=False,
            budget_cost=0.3,
            waits_half=True,
        ),
        # Waits for the next free slot; says that one too many was in flight.
        ErrorCode.TOO_MANY_CONCURRENT: ErrorRule(
            retries=True,
            base_s=1.0,
            spends_attempt=False,
            limiter=Verdict.REFUSED,
            waits_half=True,
        ),
        # 503, 529: it did not start on the call, so anything may be sent again.
        ErrorCode.OVERLOADED: ErrorRule(
            retries=True,
            base_s=2.0,
            breaker=Health.FAIL,
            limiter=Verdict.OVERLOADED,
            budget_cost=1.0,
        ),
        # 500, 502, 504; OpenAI's and Anthropic's SDKs begin with 0.5 s too.
        ErrorCode.SERVER_ERROR: ErrorRule(
            retries=True, base_s=0.5, breaker=Health.FAIL, budget_cost=1.0
        ),
        # 409: only if the provider says so (`x-should-retry`).
        ErrorCode.CONFLICT: ErrorRule(base_s=0.5, budget_cost=1.0),
        # Certainly not sent: always safe, and worth trying elsewhere soon.
        ErrorCode.CONNECT_FAILED: ErrorRule(
            retries=True, base_s=0.1, breaker=Health.GONE, budget_cost=1.0
        ),
        # Work may be lost on the far side: twice the budget (botocore: 10 against 5).
        ErrorCode.CONNECTION_LOST: ErrorRule(
            retries=True,
            base_s=0.5,
            needs_repeatable=True,
            breaker=Health.FAIL,
            limiter=Verdict.OVERLOADED,
            budget_cost=2.0,
        ),
        # 408, 425 and our own time limit.
        ErrorCode.TIMED_OUT: ErrorRule(
            retries=True,
            base_s=0.5,
            needs_repeatable=True,
            breaker=Health.FAIL,
            limiter=Verdict.OVERLOADED,
            budget_cost=2.0,
        ),
        # 4xx: our input is at fault; error replies are fast and teach the limiter
        # nothing (Vector #3493).
        ErrorCode.BAD_CALL: _NOT_AGAIN,
        # A key refused to all cuts the endpoint off; refused to a few, it does not.
        ErrorCode.UNAUTHORISED: ErrorRule(breaker=Health.GONE),
        ErrorCode.UNKNOWN_MODEL: _NOT_AGAIN,
        # 402, 429 `insufficient_quota`: the endpoint is of no use to anybody.
        ErrorCode.QUOTA_SPENT: ErrorRule(breaker=Health.EJECT),
        # Answered, though not with what was asked; of its health see `health_of`.
        ErrorCode.BAD_REPLY: ErrorRule(breaker=Health.OK, limiter=Verdict.OK),
        # The user's function raised: says nothing of others.
        ErrorCode.FUNCTION_FAILED: ErrorRule(retries=True, base_s=0.5),
        # A child process died under the call; another takes its place.
        ErrorCode.WORKER_DIED: ErrorRule(
            retries=True, base_s=0.5, needs_repeatable=True
        ),
        # Never sent, or over: nothing to try again.
        ErrorCode.TOO_COSTLY: _NOT_AGAIN,
        ErrorCode.POISONED: _NOT_AGAIN,
        ErrorCode.CANCELLED: _NOT_AGAIN,
        ErrorCode.EXPIRED: _NOT_AGAIN,
        ErrorCode.SKIPPED: _NOT_AGAIN,
        ErrorCode.BUDGET_SPENT: _NOT_AGAIN,
        ErrorCode.QUEUE_FULL: _NOT_AGAIN,
    }
)
"""Source: algorithm notes of this project, 3.2, unless a line says otherwise."""

_ASKED_TO_WAIT = MappingProxyType(
    {
        # While all wait as asked, nothing is amplified: no budget, no attempt.
        ErrorCode.RATE_LIMITED: msgspec.structs.replace(
            _RULES[ErrorCode.RATE_LIMITED], budget_cost=0.0
        ),
        ErrorCode.OVERLOADED: msgspec.structs.replace(
            _RULES[ErrorCode.OVERLOADED], spends_attempt=False, budget_cost=0.0
        ),
    }
)
"""Rules that differ where the provider said for how long (`Retry-After`)."""

_OF_THE_ENDPOINT = frozenset(
    {ErrorCode.UNAUTHORISED, ErrorCode.QUOTA_SPENT, ErrorCode.CONNECT_FAILED}
    | {ErrorCode.UNKNOWN_MODEL, ErrorCode.BAD_REPLY}
)
"""Permanent where they happened; another endpoint may have another key, certificate
or model, and answer in the API's form."""
_UNKNOWN_OUTCOME = frozenset({502, 504})
"""A gateway gave up: whether the call was carried out is unknown (RFC 9110, 15.6)."""

_MAX_DOUBLINGS = 30


class RetryAfter(msgspec.Struct, frozen=True, gc=False):
    """Try again in `wait_s` seconds."""

    wait_s: float
    spends_attempt: bool


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """Do not try again."""

    reason: str


def verdict_of(error: CallError) -> ErrorRule:
    """Return what `error` means for the limiter, the breaker and the budget."""
    if error.retry_after_s is not None and error.code in _ASKED_TO_WAIT:
        return _ASKED_TO_WAIT[error.code]
    return _RULES[error.code]


def health_of(error: CallError, *, has_other: bool) -> Health:
    """Return what `error` says of its endpoint to the breaker.

    Who answers with web pages would take calls for ever, and fast. Alone it is not cut
    off: then each call fails and says why, instead of waiting.

    Args:
        error: why a call failed.
        has_other: is another endpoint well that may take the call?
    """
    if error.code is ErrorCode.BAD_REPLY and has_other:
        return Health.FAIL
    return verdict_of(error).breaker


def decide(  # noqa: PLR0913  what failed, what is allowed, how far it has come
    error: CallError,
    retry: Retry,
    attempt: int,
    u: float,
    left_s: float | None,
    repeatable: bool,  # noqa: FBT001  a fact about the call
    streak: int | None = None,
) -> RetryAfter | GiveUp:
    """Decide whether a failed call is tried again, and when.

    Args:
        error: why it failed.
        retry: what the user allows.
        attempt: attempts spent, this one included, from 1.
        u: uniform in [0, 1).
        left_s: seconds until the deadline; None = no deadline.
        repeatable: may the call be sent again if it was perhaps carried out?
        streak: failures in a row, those that spent no attempt included; None =
            `attempt`. The back-off grows with it.

    Invariants: a permanent error is never retried; no wait ends at or after the
    deadline; a provider's `Retry-After` is a lower bound of the wait.
    """
    rule = verdict_of(error)
    refusal = _refusal(error, rule, repeatable)
    if refusal:
        return GiveUp(refusal)
    if rule.spends_attempt and attempt >= retry.max_attempts:
        return GiveUp(f"attempt {attempt} of {retry.max_attempts} failed")
    wait_s = _wait_s(error, rule, retry, u, streak or attempt)
    if left_s is not None and wait_s >= left_s:
        return GiveUp(
            f"a wait of {wait_s:.1f} s ends after the deadline, {left_s:.1f} s from now"
        )
    return RetryAfter(wait_s, rule.spends_attempt)


def may_go_elsewhere(error: CallError, *, repeatable: bool) -> bool:
    """May another endpoint answer what this one has refused for good?

    Args:
        error: a permanent one.
        repeatable: may the call be sent again if it was carried out?
    """
    if error.code is ErrorCode.BAD_REPLY and not repeatable:
        return False
    return error.code in _OF_THE_ENDPOINT


def _refusal(error: CallError, rule: ErrorRule, repeatable: bool) -> str:  # noqa: FBT001
    """Return why the call must not be sent again, or nothing."""
    if isinstance(error, PermanentError):
        return f"{error.code} is permanent"
    if error.should_retry is not None:
        return "" if error.should_retry else "the provider says not to retry"
    if not rule.retries:
        return f"{error.code} is not retried"
    unknown = rule.needs_repeatable or error.status in _UNKNOWN_OUTCOME
    if unknown and not repeatable:
        return "it may have been carried out, and is not repeatable"
    return ""


def _wait_s(
    error: CallError, rule: ErrorRule, retry: Retry, u: float, streak: int
) -> float:
    asked_s = error.retry_after_s
    if asked_s is not None and asked_s > 0:
        return asked_s * (1.0 + 0.1 * u)
    doublings = min(max(streak, 1) - 1, _MAX_DOUBLINGS)
    ceiling_s = min(retry.cap_s, rule.base_s * 2.0**doublings)
    return ceiling_s * (0.5 + 0.5 * u) if rule.waits_half else ceiling_s * u


class RetryBudget(msgspec.Struct, frozen=True, gc=False):
    """Retries an endpoint may still be asked for: a storm is slowed, never failed.

    Source: Finagle RetryBudget (deposits per success, a floor per second), gRPC A6
    (0.1 a success). We differ: who finds it empty waits, as no batch is in a hurry.
    """

    tokens: float = 100.0
    refilled_at: float = 0.0
    per_success: float = 0.1
    cap: float = 100.0
    floor_per_s: float = 1.0
    """Retries that are always allowed; time alone refills up to 10 s of them."""
    max_wait_s: float = 30.0
    """No retry waits longer than this; by then the breaker guards the endpoint."""

    def deposit(self) -> RetryBudget:
        """Return the budget after a call that succeeded."""
        if self.tokens >= self.cap:
            return self
        return self._with(
            min(self.cap, self.tokens + self.per_success), self.refilled_at
        )

    def withdraw(self, now: float, cost: float) -> tuple[RetryBudget, float]:
        """Pay for one retry.

        Returns:
            The budget afterwards, and the seconds to wait before the retry.
        """
        if cost <= 0:
            return self, 0.0
        tokens = self.tokens
        reserve = 10.0 * self.floor_per_s
        if tokens < reserve:
            tokens += max(0.0, now - self.refilled_at) * self.floor_per_s
            tokens = min(reserve, tokens)
        least = -self.max_wait_s * self.floor_per_s
        tokens = max(least, tokens - cost)
        return self._with(tokens, now), max(0.0, -tokens / self.floor_per_s)

    def _with(self, tokens: float, refilled_at: float) -> RetryBudget:
        return RetryBudget(
            tokens,
            refilled_at,
            self.per_success,
            self.cap,
            self.floor_per_s,
            self.max_wait_s,
        )
