"""A function that does as it is told, for the contract of providers."""

from __future__ import annotations

import asyncio
import time

from headrace.errors import BadCall


def obey(word: str) -> dict[str, int]:
    if word == "hang":
        time.sleep(600)
    return _answer(word)


async def obey_later(word: str) -> dict[str, int]:
    if word == "hang":
        await asyncio.sleep(600)
    return _answer(word)


def _answer(word: str) -> dict[str, int]:
    if word == "fail":
        raise RuntimeError("told to")
    if word == "refuse":
        raise BadCall("told to")
    return {"ok": 1}
