"""The child of a process provider: `python -m headrace.providers.functions.child`.

It takes frames from standard input and answers on standard output. Both are moved
out of the user's reach first: what the function prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec

from headrace.errors import BadReply, ErrorCode, PermanentError
from headrace.providers.functions.failures import describe, translate
from headrace.providers.functions.frames import (
    ENCODING_ERRORS,
    HEAD,
    Answer,
    Hello,
    fault_of,
    pack,
)

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Answer frames until the parent closes the pipe or dies."""
    source, sink = _take_pipes()
    _die_with_parent(source.fileno())
    hello = _read(source)
    if hello is None:
        return
    try:
        function = _load(msgspec.json.decode(hello, type=Hello))
    except BaseException as error:  # noqa: BLE001  importing runs the user's code
        _write(sink, _refusal(error))
        return
    _write(sink, Answer())
    with asyncio.Runner() as runner:
        while (frame := _read(source)) is not None:
            _write(sink, _answer(function, runner, msgspec.json.decode(frame)))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    # dup() gives descriptors that children of the function do not inherit.
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def _die_with_parent(fd: int) -> None:
    """End this process group as soon as the parent is gone, even in mid-call."""
    if sys.platform == "linux":  # also when the function never lets go of the GIL
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(fd,), daemon=True).start()


def _watch(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, 0)  # reports nothing but the other end's closing
    poll.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _load(hello: Hello) -> Callable[[Any], Any]:
    sys.path[:] = hello.path
    module, _, name = hello.function.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{hello.function} is not callable")
    return found  # type: ignore[no-any-return]  # checked by callable()


def _refusal(error: BaseException) -> Answer:
    message = f"the function cannot be loaded: {describe(error)}"
    return Answer(
        fault=fault_of(PermanentError(message, code=ErrorCode.FUNCTION_FAILED))
    )


def _answer(
    function: Callable[[Any], Any], runner: asyncio.Runner, argument: object
) -> Answer:
    try:
        value = function(argument)
        if inspect.isawaitable(value):
            value = runner.run(_finish(value))
    except BaseException as error:  # noqa: BLE001  the user's code, even its SystemExit
        return Answer(fault=fault_of(translate(error)))
    return Answer(value)


async def _finish(value: Any) -> object:
    return await value


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    return source.read(HEAD.unpack(head)[0])


def _write(sink: BinaryIO, answer: Answer) -> None:
    try:
        frame = pack(answer)
    except ENCODING_ERRORS as error:
        message = f"the function's result has no JSON form: {describe(error)}"
        frame = pack(Answer(fault=fault_of(BadReply(message))))
    sink.write(frame)
    sink.flush()


if __name__ == "__main__":
    main()
