"""What a command's exit code says, and which error leads to which."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from headrace.errors import (
    CallError,
    ConfigError,
    HeadraceError,
    InputError,
    JobError,
    OutputClosed,
    OutputError,
    OutputLocked,
    Rejected,
    StoreError,
    UpstreamDown,
)


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    SUCCEEDED = 0
    SOME_FAILED = 1
    USAGE = 2
    """A flag, a setting, the input or a missing key; nothing was sent."""
    INTERRUPTED = 3
    """SIGINT, SIGTERM or a closed output; the same command goes on."""
    UPSTREAM = 4
    """No endpoint answers, or all refuse; the same command goes on."""
    MACHINE = 5
    """Disk, output or database; the same command goes on."""
    BUG = 70
    """A fault of Headrace itself, shown with its traceback."""


_CODES: tuple[tuple[type[HeadraceError], Exit], ...] = (
    (OutputClosed, Exit.INTERRUPTED),
    (OutputError, Exit.MACHINE),
    (StoreError, Exit.MACHINE),
    (UpstreamDown, Exit.UPSTREAM),
    (ConfigError, Exit.USAGE),
    (InputError, Exit.USAGE),
    (JobError, Exit.USAGE),
    (CallError, Exit.UPSTREAM),
    (Rejected, Exit.SOME_FAILED),
)
"""The first that matches counts."""


def exit_code(error: HeadraceError) -> Exit:
    """Return the exit code that an error leads to."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.BUG


@contextmanager
def exiting(command: str, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Turn errors that a user can do something about into a line and an exit code.

    Args:
        command: whose errors they are, such as `run`.
        tell: shows the line; standard error by default.
    """
    try:
        yield
        sys.stdout.flush()
    except OutputClosed:
        _leave_closed_output()
    except BrokenPipeError:
        _leave_closed_output()
    except HeadraceError as error:
        code = exit_code(error)
        if code is Exit.BUG:
            raise
        (tell or _tell)(f"headrace {command}: {error}{_hint(error)}")
        raise SystemExit(code) from None
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None


def _hint(error: HeadraceError) -> str:
    if not isinstance(error, OutputError) or isinstance(error, OutputLocked):
        return ""
    return "; nothing is lost: once that is mended, the same command goes on"


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


def _leave_closed_output() -> None:
    """Leave quietly; at exit Python must not flush what nobody reads."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    raise SystemExit(Exit.INTERRUPTED) from None
