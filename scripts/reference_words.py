"""What the reference says beyond what the code itself says, and how it is set."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.cli.exits import Exit
from headrace.errors import ErrorCode

EXIT_WORDS = {
    Exit.SUCCEEDED: ("Every line succeeded.", "Nothing."),
    Exit.SOME_FAILED: (
        "The run is over; some lines failed, expired, were cancelled or left out.",
        "Look at OUT.errors.jsonl; `headrace jobs retry`, then the same command again.",
    ),
    Exit.USAGE: (
        "A flag, a setting, the input or a missing key; nothing was sent.",
        "Mend what the message names. The same command again will not help.",
    ),
    Exit.INTERRUPTED: (
        "Ctrl-C, SIGTERM, a closed output, or a paused job.",
        "The same command again goes on.",
    ),
    Exit.UPSTREAM: (
        "No endpoint answers, or all refuse the key or the model. Nothing was recorded "
        "as failed for it.",
        "Mend the address, the key or the model, or wait; the same command again goes on.",
    ),
    Exit.MACHINE: (
        "The disk, an output file or the database of this machine.",
        "Mend it; the same command again goes on.",
    ),
    Exit.BUG: (
        "A fault of Headrace itself, shown with its traceback.",
        "Report it; the same command again goes on where it stopped.",
    ),
}
"""By exit code: what it means, and what to do next."""

CODE_WORDS = {
    ErrorCode.RATE_LIMITED: (
        "429: more calls or tokens than the provider allows.",
        "Set `--rpm` and `--tpm` to what the account has.",
    ),
    ErrorCode.TOO_MANY_CONCURRENT: (
        "429: too many calls at the same time.",
        "Lower `--in-flight`.",
    ),
    ErrorCode.OVERLOADED: (
        "503 or 529: the provider fails for everybody.",
        "Wait; `--patience` says for how long a run does.",
    ),
    ErrorCode.SERVER_ERROR: (
        "500, 502, 504 and others of the provider's own.",
        "`headrace jobs retry` later; raise `--max-attempts`.",
    ),
    ErrorCode.CONFLICT: (
        "409.",
        "Read the message; it is tried again only if the provider says so.",
    ),
    ErrorCode.CONNECT_FAILED: (
        "No connection came about; the call was not sent.",
        "Check the address and the network.",
    ),
    ErrorCode.CONNECTION_LOST: (
        "The connection broke after the call was sent, or may have been.",
        "`headrace jobs retry`, if the call may be made twice.",
    ),
    ErrorCode.TIMED_OUT: (
        "No answer within the time limit of an attempt, or 408.",
        "Raise `--timeout`, or ask for less in one call.",
    ),
    ErrorCode.BAD_CALL: (
        "The provider refused the call itself.",
        "Correct the line; the message is the provider's.",
    ),
    ErrorCode.UNAUTHORISED: (
        "401 or 403: the key is refused.",
        "Correct the key; check what it may do.",
    ),
    ErrorCode.QUOTA_SPENT: (
        "The account has no credit left.",
        "Pay, or wait for the next period; then `headrace jobs retry`.",
    ),
    ErrorCode.UNKNOWN_MODEL: (
        "The endpoint does not know the model or the path.",
        "Correct `model` or `url` of the line, or the address.",
    ),
    ErrorCode.BAD_REPLY: (
        "The provider answered, but not with what was asked; or a function's result is "
        "not JSON.",
        "Look at the answer; check that the dialect is right.",
    ),
    ErrorCode.FUNCTION_FAILED: (
        "Your function raised an exception.",
        "Read the message; raise `PermanentError` for what needs no second try.",
    ),
    ErrorCode.WORKER_DIED: (
        "The process that ran your function died.",
        "Look for a crash or too little memory.",
    ),
    ErrorCode.TOO_COSTLY: (
        "The call costs more tokens than the limit holds in a minute.",
        "Raise `--tpm`, or lower the line's `max_tokens`.",
    ),
    ErrorCode.POISONED: (
        "The process died several times while it ran this item.",
        "Look at the item by itself: it may bring the process down.",
    ),
    ErrorCode.CANCELLED: (
        "The job was cancelled before the item ended.",
        "`headrace jobs retry`, if it is wanted after all.",
    ),
    ErrorCode.EXPIRED: (
        "The job's deadline passed before the item ended.",
        "`headrace jobs retry`, with a later `--deadline`.",
    ),
    ErrorCode.SKIPPED: (
        "The job ended early by its failure policy; the item never ran.",
        "Mend what failed, then `headrace jobs retry`.",
    ),
    ErrorCode.BUDGET_SPENT: (
        "What is left of a budget does not pay for the call, which was not sent. Only in "
        "memory and of direct calls; a job is paused instead.",
        "A larger budget.",
    ),
    ErrorCode.QUEUE_FULL: (
        "As many calls wait as `HttpRoute.max_waiting` allows; it was not sent. Direct "
        "calls only: items of jobs wait in the store.",
        "Try again after the seconds that the message states.",
    ),
}
"""By error code: what it means, and what to do next."""

SETTING_WORDS = {
    "api_key_file": "A file that holds the key, and nothing else.",
    "max_body_bytes": "The longest body of a request that is no upload (413).",
    "max_file_bytes": "The longest body of an upload (413); none is set by itself.",
    "max_line_bytes": "The longest line of an input, its line feed not counted.",
    "max_batch_lines": "Requests in a batch's input (`too_many_tasks`); any number by itself.",
    "private_upstreams": "May the admin API add addresses of private ranges?",
    "max_header_bytes": "The longest head of a request (431).",
    "max_connections": "Connections open at once; more are refused (503).",
    "client_timeout": "Seconds that a client has for the head of a request, for its "
    "body, and for each piece of an upload (408).",
}
"""Settings that have no flag."""


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def fenced(text: str, language: str = "text") -> Iterator[str]:
    yield f"```{language}"
    yield text
    yield "```"
