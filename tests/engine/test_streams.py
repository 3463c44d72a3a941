from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine_building import Bench, a_bench, a_call
from headrace.errors import Interrupted, TimedOut
from headrace.model import Limits, Reply
from headrace.simulation.virtual import run_virtual

_CHUNKS = 5


async def _chunks(fail_at: int | None = None) -> AsyncIterator[bytes]:
    for i in range(_CHUNKS):
        await asyncio.sleep(1.0)
        if i == fail_at:
            raise Interrupted("the stream broke")
        yield b"%d" % i


async def _streamed(_call: Any, _endpoint: Any) -> Reply:
    return Reply(chunks=_chunks())


def _in_flight(bench: Bench) -> int:
    return bench.built.gate.in_flight


@pytest.mark.parametrize("read", range(_CHUNKS + 1))
def test_a_stream_closed_at_any_chunk_gives_its_permits_back(read: int) -> None:
    async def main() -> tuple[int, int]:
        bench = a_bench(_streamed, limits=Limits(in_flight=1))
        reply = await bench.built.handler(a_call())
        assert reply.chunks is not None
        for _ in range(read):
            await anext(reply.chunks)
        held = _in_flight(bench)
        await reply.chunks.aclose()  # type: ignore[attr-defined]
        return held, _in_flight(bench)

    assert run_virtual(main()) == (1, 0)


def test_a_stream_read_to_its_end_gives_its_permits_back() -> None:
    async def main() -> tuple[list[bytes], int]:
        bench = a_bench(_streamed, limits=Limits(in_flight=1))
        reply = await bench.built.handler(a_call())
        assert reply.chunks is not None
        return [chunk async for chunk in reply.chunks], _in_flight(bench)

    assert run_virtual(main()) == ([b"0", b"1", b"2", b"3", b"4"], 0)


def test_a_stream_that_breaks_gives_its_permits_back_and_is_not_tried_again() -> None:
    async def breaks(_call: Any, _endpoint: Any) -> Reply:
        return Reply(chunks=_chunks(fail_at=2))

    async def main() -> tuple[int, int]:
        bench = a_bench(breaks, limits=Limits(in_flight=1))
        reply = await bench.built.handler(a_call())
        assert reply.chunks is not None
        with pytest.raises(Interrupted):
            async for _ in reply.chunks:
                pass
        return _in_flight(bench), len(bench.provider.started)

    assert run_virtual(main()) == (0, 1)


@pytest.mark.parametrize("moment_s", [0.5, 1.5, 2.5, 3.5, 4.5])
def test_a_reader_cancelled_at_any_chunk_gives_the_permits_back(
    moment_s: float,
) -> None:
    async def main() -> int:
        bench = a_bench(_streamed, limits=Limits(in_flight=1))

        async def read() -> None:
            reply = await bench.built.handler(a_call())
            assert reply.chunks is not None
            async for _ in reply.chunks:
                pass

        reader = asyncio.create_task(read())
        await asyncio.sleep(moment_s)
        reader.cancel()
        await asyncio.wait([reader])
        return _in_flight(bench)

    assert run_virtual(main()) == 0


def test_the_next_call_waits_until_the_stream_is_over() -> None:
    async def main() -> list[float]:
        bench = a_bench(_streamed, limits=Limits(in_flight=1))

        async def read(name: str) -> None:
            reply = await bench.built.handler(a_call(name))
            assert reply.chunks is not None
            async for _ in reply.chunks:
                pass

        await asyncio.gather(read("first"), read("second"))
        return [at for at, _, _ in bench.provider.started]

    assert run_virtual(main()) == pytest.approx([1_000.0, 1_005.0])


def test_a_stream_that_hangs_between_chunks_ends_at_the_time_limit() -> None:
    async def hangs(_call: Any, _endpoint: Any) -> Reply:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"0"
            await asyncio.Event().wait()

        return Reply(chunks=chunks())

    async def main() -> tuple[float, int]:
        bench = a_bench(hangs, timeout_s=30.0)
        reply = await bench.built.handler(a_call())
        assert reply.chunks is not None
        with pytest.raises(TimedOut):
            async for _ in reply.chunks:
                pass
        return asyncio.get_running_loop().time(), _in_flight(bench)

    assert run_virtual(main()) == (pytest.approx(1_030.0), 0)
