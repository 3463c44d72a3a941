"""Every error of Headrace, sorted by what the caller should do next.

```
HeadraceError
├── ConfigError            a setting we refuse
├── InputError             an input file or line we refuse
├── CallError              a call failed
│   ├── TransientError     another attempt may help
│   │   ├── Throttled      the provider asked us to slow down
│   │   ├── Overloaded     the provider fails for everybody
│   │   ├── Unreachable    no connection, so certainly not sent
│   │   ├── Interrupted    sent, then the connection broke
│   │   └── TimedOut       no answer within the time limit
│   └── PermanentError     another attempt cannot help
│       ├── BadCall        refused by the provider: our input
│       ├── Unauthorised   key or quota of the account
│       ├── UnknownModel   the endpoint does not know the model or the path
│       └── BadReply       answered, but not what was asked
├── Rejected               never sent
│   ├── LimitExceeded      the call costs more than its limit could ever hold
│   ├── BudgetSpent        what is left of a budget does not pay for the call
│   ├── QueueFull          as many calls or items wait as may
│   └── Unserved           no endpoint of the pool serves the call's model
├── JobError               NotFound, WrongState, LeaseLost, DuplicateItem, BeingSubmitted
├── StoreError             database unreachable, locked or corrupt
│   └── StoreFull          no room on the disk
├── OutputError            an output file cannot be written: OutputLocked, OutputClosed
└── UpstreamDown           no endpoint has answered for longer than we wait
```
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ErrorCode(StrEnum):
    """What went wrong with one call; stable, shown by the API and the command line."""

    RATE_LIMITED = "rate_limited"
    TOO_MANY_CONCURRENT = "too_many_concurrent"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONFLICT = "conflict"
    CONNECT_FAILED = "connect_failed"
    CONNECTION_LOST = "connection_lost"
    TIMED_OUT = "request_timeout"
    BAD_CALL = "bad_call"
    UNAUTHORISED = "unauthorised"
    QUOTA_SPENT = "quota_spent"
    UNKNOWN_MODEL = "unknown_model"
    BAD_REPLY = "bad_reply"
    FUNCTION_FAILED = "function_failed"
    WORKER_DIED = "worker_died"
    TOO_COSTLY = "too_costly"
    POISONED = "poisoned"
    CANCELLED = "batch_cancelled"
    EXPIRED = "batch_expired"
    SKIPPED = "skipped"
    BUDGET_SPENT = "budget_spent"
    QUEUE_FULL = "queue_full"


class HeadraceError(Exception):
    """Root of every error raised by Headrace."""


class ConfigError(HeadraceError):
    """A setting was refused; the message names the key, what was given and what is allowed."""


class InputError(HeadraceError):
    """An input file was refused; the message names the file, line and field."""


class CallError(HeadraceError):
    """One call failed.

    Args:
        message: for people; never holds a secret.
        code: stable name of what went wrong.
        status: HTTP status, where there was one.
        retry_after_s: seconds the provider asked us to wait, a lower bound.
        body: the provider's own error body as it came, where there was one.
        request_id: the provider's id of the call.
        should_retry: the provider's explicit word (`x-should-retry`), else None.
        dimension: which rate ran out ("calls", "tokens", …), where it was said.
        limit_per_minute: of that rate, where it was said.
    """

    default_code = ErrorCode.BAD_CALL

    def __init__(  # noqa: PLR0913  an error is a record: all but the message optional
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        body: bytes | None = None,
        request_id: str | None = None,
        should_retry: bool | None = None,
        dimension: str | None = None,
        limit_per_minute: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = body
        self.request_id = request_id
        self.should_retry = should_retry
        self.dimension = dimension
        self.limit_per_minute = limit_per_minute
        self.headers: Mapping[str, str] | None = None
        """Of the provider's answer, where there was one; their names ignore case."""


class TransientError(CallError):
    """Another attempt may help."""

    default_code = ErrorCode.SERVER_ERROR


class Throttled(TransientError):
    """The provider asked us to slow down."""

    default_code = ErrorCode.RATE_LIMITED


class Overloaded(TransientError):
    """The provider fails for everybody; counts for the breaker."""

    default_code = ErrorCode.OVERLOADED


class Unreachable(TransientError):
    """No connection came about, so the call was certainly not sent."""

    default_code = ErrorCode.CONNECT_FAILED


class Interrupted(TransientError):
    """The connection broke after the call was sent, or may have been."""

    default_code = ErrorCode.CONNECTION_LOST


class TimedOut(TransientError):
    """No answer came within the time limit."""

    default_code = ErrorCode.TIMED_OUT


class PermanentError(CallError):
    """Another attempt cannot help."""


class BadCall(PermanentError):
    """The provider refused the call itself: our input is at fault."""


class Unauthorised(PermanentError):
    """The key is refused, or the account has no quota left."""

    default_code = ErrorCode.UNAUTHORISED


class UnknownModel(PermanentError):
    """The endpoint does not know the model or the path."""

    default_code = ErrorCode.UNKNOWN_MODEL


class BadReply(PermanentError):
    """The provider answered, but not with what was asked."""

    default_code = ErrorCode.BAD_REPLY


class Rejected(HeadraceError):
    """The call was never sent."""

    code = ErrorCode.TOO_COSTLY


class LimitExceeded(Rejected):
    """The call costs more than its limit could ever hold."""


class BudgetSpent(Rejected):
    """What is left of a budget does not pay for the call, or nobody knows its price.

    The message says which budget, how much of it is spent, and what to do.
    """

    code = ErrorCode.BUDGET_SPENT


class QueueFull(Rejected):
    """As many calls or items wait as may; nothing was kept.

    Args:
        message: for people.
        retry_after_s: seconds after which there may be room.
    """

    code = ErrorCode.QUEUE_FULL

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unserved(Rejected):
    """No endpoint of the pool serves the call's model."""

    code = ErrorCode.UNKNOWN_MODEL


class JobError(HeadraceError):
    """A request about a job that cannot be met."""


class NotFound(JobError):
    """There is no such job."""


class WrongState(JobError):
    """The job is in a state that does not allow this."""

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class DuplicateItem(JobError):
    """Two items of one job bear the same `custom_id`."""

    def __init__(self, message: str, *, custom_id: str, seq: int) -> None:
        super().__init__(message)
        self.custom_id = custom_id
        self.seq = seq


class BeingSubmitted(JobError):
    """Another one submits a job under the same key now, and has not come to its end."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LeaseLost(JobError):
    """This process no longer owns what it was working on."""


class StoreError(HeadraceError):
    """The database is unreachable, locked, full or corrupt; nothing is lost."""


class StoreFull(StoreError):
    """The disk is full; once there is room, all goes on."""


class OutputError(HeadraceError):
    """An output file cannot be written; the message names it, and nothing is lost."""


class OutputLocked(OutputError):
    """Another process, `pid` if it is known, writes to this output."""

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class OutputClosed(OutputError):
    """Whoever read our standard output has gone."""


class UpstreamDown(HeadraceError):
    """No endpoint has answered for longer than we are willing to wait."""
