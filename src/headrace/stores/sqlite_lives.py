"""Which owners of a SQLite file live: each holds the lock of a small file beside it.

The system frees a lock when its holder dies, however it dies. So who can take one knows
for certain that its owner is dead, and need not wait for the lease to run out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


class Lives:
    """The locks of a file's owners; used from one thread at a time.

    Where a lock cannot be had or seen (a folder that is read-only, a file system
    without locks), nothing is certain, and the lease alone counts.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[int, int] = {}

    def hold(self, epoch: int) -> None:
        """Show that an owner lives, for as long as this process does."""
        new = self._path.with_name(f"{self._path.name}.owner-{uuid4().hex}")
        with suppress(OSError):
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                new.rename(self._place(epoch))  # seen only once it is locked
            except OSError:
                os.close(fd)
                new.unlink(missing_ok=True)
                raise
            self._held[epoch] = fd

    def let_go(self, epoch: int) -> None:
        """Forget an owner that has ended or died; idempotent."""
        with suppress(OSError):
            self._place(epoch).unlink(missing_ok=True)
        self.free(epoch)

    def free(self, epoch: int) -> None:
        """Let an owner be seen dead that ended and could not say so; idempotent."""
        fd = self._held.pop(epoch, None)
        if fd is not None:
            os.close(fd)

    def dead(self, epochs: Sequence[int]) -> list[int]:
        """Return those of these owners that are dead for certain."""
        return [epoch for epoch in epochs if self._is_dead(epoch)]

    def close(self) -> None:
        """Let go of all owners of this process: they can do nothing more; idempotent."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def _is_dead(self, epoch: int) -> bool:
        if epoch in self._held:
            return False
        try:
            fd = os.open(self._place(epoch), os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _place(self, epoch: int) -> Path:
        return self._path.with_name(f"{self._path.name}.owner-{epoch}")
