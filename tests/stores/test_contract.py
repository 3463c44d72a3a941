from __future__ import annotations

import asyncio

import pytest

from headrace.testing.store_contract import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_store_keeps_its_contract(check: Check, opens) -> None:
    async def main() -> None:
        async with opens() as world:
            await check(world)

    asyncio.run(main())
