"""The same batch on a real model and on the simulated provider."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from clients_live import ROOT, clean_environment, succeeded

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.timeout(150)
@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="the model is not here: `make .venv/.model` fetches it",
)
def test_a_batch_ends_alike_on_a_real_model_and_on_the_simulated_one(
    tmp_path: Path,
) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "compare_upstreams.py")]
    printed = succeeded(
        [*command, "--lines", "4"],
        folder=tmp_path,
        environment=clean_environment(),
        within_s=140,
    )
    assert "What a client may rely on is the same." in printed
    assert "completed" in printed
