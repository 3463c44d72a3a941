"""What every store must do: examples, each a sentence that holds or not.

A store passes if each of `CHECKS` returns on a fresh `World`:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_store(check): asyncio.run(run(check))

`store_machine` holds the same contract against random sequences of operations.
"""

from __future__ import annotations

from typing import Final

from headrace.testing import (
    store_checks_control,
    store_checks_documents,
    store_checks_intake,
    store_checks_leases,
    store_checks_records,
    store_checks_sums,
)
from headrace.testing.store_world import Check, World

__all__ = ["CHECKS", "Check", "World"]

CHECKS: Final[tuple[Check, ...]] = (
    *store_checks_intake.CHECKS,
    *store_checks_leases.CHECKS,
    *store_checks_records.CHECKS,
    *store_checks_control.CHECKS,
    *store_checks_sums.CHECKS,
    *store_checks_documents.CHECKS,
)
