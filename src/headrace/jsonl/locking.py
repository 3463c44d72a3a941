"""One writer for each output file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import OutputError, OutputLocked


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold `<out>.lock`, which bears our pid, and remove it in the end.

    The system frees the lock of a process that dies, so a file left behind by one
    refuses nobody.

    Raises:
        OutputLocked: another process holds it; names its pid.
        OutputError: the lock cannot be written beside the output.
    """
    path = out.with_name(f"{out.name}.lock")
    try:
        fd = _take(path, out)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that is read-only by now keeps the file
            path.unlink()
        os.close(fd)


def _take(path: Path, out: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, fd):
                os.ftruncate(fd, 0)
                os.write(fd, str(os.getpid()).encode())
                return fd
        except BlockingIOError:
            pid = _pid(fd)
            os.close(fd)
            owner = f"process {pid}" if pid else "another process"
            message = f"{out}: {owner} is writing to it; wait for it, or end it"
            raise OutputLocked(message, pid=pid) from None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    """Say whether the file we locked is the one there: its last holder removed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 20, 0)
    return int(text) if text.isdigit() else None
