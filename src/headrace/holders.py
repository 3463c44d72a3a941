"""Who holds something in a store, named so that others may know when it has died."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def this_process() -> str:
    """Return the name of this process: `HOST/PID/BIRTH`."""
    pid = os.getpid()
    return f"{_host()}/{pid}/{_birth(pid)}"


def has_died(holder: str) -> bool:
    """Say whether a process of this machine has died, for sure.

    Args:
        holder: of `this_process`, maybe with `/` and more behind it.
    """
    host, _, rest = holder.partition("/")
    pid, _, rest = rest.partition("/")
    if host != _host() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    birth, now = rest.partition("/")[0], _birth(int(pid))
    return bool(birth and now) and birth != now  # the pid was given to another


def _host() -> str:
    """Return the host, and on Linux the space of pids: containers may share a name."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid").removeprefix("pid:")
    return socket.gethostname() + space


def _birth(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty where nobody says."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19]
