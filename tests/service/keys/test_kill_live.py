"""A service that is killed forgets nothing of what a key has spent."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shell_live import COMMAND, Serve, clean_environment, serve
from upstreams import Asked, upstream

__all__ = ["serve"]
pytestmark = pytest.mark.live

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
REPLY = b'{"id":"c1","usage":{"prompt_tokens":6,"completion_tokens":4}}'
PRICE = "1000000/1000000"
"""A dollar a token: a call costs 10, and about 30 are set aside for it."""


async def answers(request: Asked) -> None:
    await request.reply(REPLY)


def key_in(folder: Path, usd: int) -> str:
    """Make a key with a budget by the command."""
    made = subprocess.run(
        [*COMMAND, "keys", "add", "--budget-usd", str(usd), "--json"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        check=True,
    )
    key: str = json.loads(made.stdout)["key"]
    return key


async def fed(url: str, key: str, calls: int) -> int:
    """Return how many of so many calls are answered; the rest is told to stop."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        path = "/v1/chat/completions"
        found = [await client.post(path, json=BODY) for _ in range(calls)]
    refused = [answer.json() for answer in found if answer.status_code == 429]
    assert all(each["error"]["code"] == "insufficient_quota" for each in refused)
    assert {answer.status_code for answer in found} <= {200, 429}
    return calls - len(refused)


def test_a_budget_holds_over_kills(serve: Serve, tmp_path: Path) -> None:
    key = key_in(tmp_path, 200)

    async def main() -> tuple[list[int], Any]:
        counts = []
        async with upstream(answers) as there:
            flags = ("--base-url", there.url, "--price", PRICE)
            for calls in (5, 5, 20):
                with serve(*flags) as served:
                    counts.append(await fed(served.url, key, calls))
                    served.process.kill()
                    served.process.wait()
            return counts, len(there.asked)

    counts, asked = asyncio.run(main())
    assert counts[:2] == [5, 5]
    assert sum(counts) == asked
    # 200 dollars pay for 20 calls; a kill loses what was drawn and not given back yet.
    assert 12 <= asked <= 20
