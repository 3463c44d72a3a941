from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from headrace.testing.store_machine import store_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_random_operations_never_part_the_store_from_its_model(
    opens, request: pytest.FixtureRequest
) -> None:
    is_memory = request.node.callspec.params["opens"] == "memory"
    run_state_machine_as_test(
        store_machine(opens),
        settings=settings(
            max_examples=100 if is_memory else 30,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
