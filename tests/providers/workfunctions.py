"""Functions that children of a process provider import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from headrace.errors import BadCall, Throttled


def double(value: Any) -> Any:
    return value * 2


async def double_later(value: Any) -> Any:
    return value * 2


def pid(_: Any) -> int:
    return os.getpid()


def fail(_: Any) -> None:
    raise ValueError("not today")


def refuse(_: Any) -> None:
    raise BadCall("our fault")


def throttle(_: Any) -> None:
    raise Throttled("slow down", retry_after_s=3.0, dimension="tokens", status=429)


def leave(_: Any) -> None:
    sys.exit(3)


def die(_: Any) -> None:
    os._exit(3)


def shout(value: Any) -> Any:
    print("noise on standard output")
    sys.stdout.flush()
    os.write(1, b"raw noise\n")
    return value


def ask(_: Any) -> str:
    return sys.stdin.read()


def odd(_: Any) -> object:
    return object()


def hang(path: str) -> None:
    """Note our pid and a grandchild's in a file, then never return."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(path + ".part", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(path + ".part", path)
    time.sleep(600)


class Tools:
    def method(self, value: Any) -> Any:
        return value

    @staticmethod
    def double(value: Any) -> Any:
        return value * 2


NOT_CALLABLE = 5
