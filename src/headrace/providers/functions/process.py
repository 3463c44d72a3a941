"""Calls a function in child processes, which can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

import msgspec

from headrace.errors import (
    BadCall,
    BadReply,
    CallError,
    ConfigError,
    ErrorCode,
    TransientError,
)
from headrace.model import Call, Endpoint, Reply
from headrace.providers.functions.failures import describe
from headrace.providers.functions.frames import (
    ENCODING_ERRORS,
    HEAD,
    MAX_FRAME_BYTES,
    Answer,
    Hello,
    error_of,
    pack,
)

LEAVING_S = 1.0
"""Longest wait of `close` for killed children to be gone."""

_decode = msgspec.json.Decoder(Answer).decode


class ProcessProvider:
    """Answers a call with `function(call.payload)` in one of `size` children.

    The function is sent by name, its argument and result as JSON; nothing is pickled.
    A child whose call is cancelled is killed with all that it started, and replaced
    when there is work. Used from one event loop.

    Args:
        function: `module:function`, or a function that can be imported by its name.
        size: children at the same time, >= 1.

    Raises:
        ConfigError: the function cannot be named, or `size` is below 1.
    """

    def __init__(self, function: str | Callable[[Any], Any], size: int) -> None:
        if size < 1:
            raise ConfigError(f"size {size} of a process pool is less than 1")
        self._name = function if isinstance(function, str) else name_of(function)
        _check_name(self._name)
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._alive: set[_Child] = set()

    async def send(self, call: Call, endpoint: Endpoint) -> Reply:
        try:
            frame = pack(call.payload)
        except ENCODING_ERRORS as error:
            raise BadCall(
                f"the argument has no JSON form: {describe(error)}; "
                "give plain data, or use a thread"
            ) from error
        async with self._slots:
            child = await self._child()
            try:
                answer = await child.ask(frame)
            except BaseException:
                self._end(child)
                raise
            self._idle.append(child)
        if answer.fault is not None:
            raise error_of(answer.fault)
        return Reply(answer.value)

    async def close(self) -> None:
        """Kill all children, also those in a call, and see them gone."""
        leaving = list(self._alive)
        for child in leaving:
            self._end(child)
        self._idle.clear()
        if leaving:
            exits = [child.gone for child in leaving]
            await asyncio.wait(exits, timeout=LEAVING_S)

    async def _child(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if not child.gone.done():
                return child
            self._end(child)
        child = await _Child.start()
        self._alive.add(child)
        try:
            answer = await child.ask(pack(Hello(self._name, list(sys.path))))
            if answer.fault is not None:
                raise error_of(answer.fault)
        except BaseException:
            self._end(child)
            raise
        return child

    def _end(self, child: _Child) -> None:
        child.kill()
        if child.gone.done():
            self._alive.discard(child)
        else:
            child.gone.add_done_callback(lambda _: self._alive.discard(child))


_CODE_LOST = 255
"""What asyncio reports of a child that somebody else has waited for."""


class _Child(asyncio.SubprocessProtocol):
    """One child process; one question at a time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls) -> _Child:
        loop = asyncio.get_running_loop()
        starting = loop.subprocess_exec(
            cls,
            sys.executable,
            "-m",
            "headrace.providers.functions.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None,
            start_new_session=True,  # so that it can be killed with all it started
        )
        try:
            _, child = await starting
        except OSError as error:
            raise TransientError(
                f"no child process could be started: {error}",
                code=ErrorCode.WORKER_DIED,
            ) from error
        return child

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    async def ask(self, frame: bytes) -> Answer:
        """Send one frame and wait for the one that answers it.

        Raises:
            TransientError: the child died.
            BadReply: its answer is too long.
        """
        if self._transport is None or self.gone.done():
            raise self._death()
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        self._answer = self._loop.create_future()
        stdin.write(frame)
        return _decode(await self._answer)

    def kill(self) -> None:
        """End the process and all that it started, at once; idempotent."""
        transport = self._transport
        if transport is None or self.gone.done():
            return
        if transport.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError):  # it may just have ended
                os.killpg(transport.get_pid(), signal.SIGKILL)
        for fd in (0, 1):
            pipe = transport.get_pipe_transport(fd)
            if pipe is not None:
                pipe.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self._received
        received += data
        if len(received) < HEAD.size:
            return
        length = HEAD.unpack_from(received)[0]
        if length > MAX_FRAME_BYTES:
            self._fail(
                BadReply(f"the function's result is above {MAX_FRAME_BYTES} bytes")
            )
        elif len(received) >= HEAD.size + length:
            frame = bytes(received[HEAD.size :])
            received.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(frame)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        # The exit code follows with process_exited; make sure that it does.
        if fd == 1 and self._transport is not None:
            with contextlib.suppress(ProcessLookupError):
                self._transport.kill()

    def process_exited(self) -> None:
        self._fail(self._death())
        if not self.gone.done():
            self.gone.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: CallError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _exit_code(self) -> int | None:
        """Return how the process ended; None if nobody knows.

        A kill looks first whether it is over, and may take the code before asyncio's
        watcher does, which then says 255; the other way round the kill finds 0.
        """
        if self._transport is None:
            return None
        code = self._transport.get_returncode()
        taken = getattr(
            self._transport.get_extra_info("subprocess"), "returncode", None
        )
        return taken if taken and code in (None, _CODE_LOST) else code

    def _death(self) -> TransientError:
        code = self._exit_code()
        how = "" if code is None else f" with {_exit_text(code)}"
        return TransientError(
            f"the child process ended{how} during the call; see its standard error",
            code=ErrorCode.WORKER_DIED,
        )


def _exit_text(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def name_of(function: Callable[[Any], Any]) -> str:
    """Return the `module:function` by which a child can import this function.

    Raises:
        ConfigError: a lambda, closure, method of an object, or part of `__main__`.
    """
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if module is None or name is None or inspect.ismethod(function):
        raise ConfigError(f"{function!r} is no function that a child could import")
    if "<" in name:
        raise ConfigError(
            f"function {name} is a lambda or stands inside another function; "
            "a child cannot import it: define it at the top of a module"
        )
    if module == "__main__":
        raise ConfigError(
            f"function {name} stands in __main__, which a child cannot import: "
            "move it to a module"
        )
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise ConfigError(
            f"{module}:{name} names something else than the function given; "
            "a child would run the wrong one"
        )
    return f"{module}:{name}"


def _check_name(name: str) -> None:
    module, colon, function = name.partition(":")
    words = [*module.split("."), *function.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise ConfigError(f"function {name!r} is not of the form 'module:function'")
    if module == "__main__":
        raise ConfigError(f"function {name!r}: a child cannot import __main__")
