from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from headrace.testing.record_machine import document_machine, files_machine
from headrace.testing.store_machine import store_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def try_out(machine: Any, max_examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_operations_never_part_the_store_from_its_model(
    opens, request: pytest.FixtureRequest
) -> None:
    is_memory = request.node.callspec.params["opens"] == "memory"
    try_out(store_machine(opens), 100 if is_memory else 30)


def test_random_operations_never_part_documents_from_their_model(opens) -> None:
    try_out(document_machine(opens), 30)


@pytest.mark.parametrize("opens", DATABASES, indirect=True)
def test_random_operations_never_part_files_from_their_model(opens) -> None:
    try_out(files_machine(opens), 30)
