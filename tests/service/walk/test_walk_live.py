"""schemathesis asks everything that the OpenAPI description has, and much that it has not.

No answer may be a fault, undocumented, of another type or of another form; no bad input
may be taken, no good one refused, and nothing done without a key.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RUN = "from schemathesis.cli import schemathesis; schemathesis()"
KEY = re.compile(r"\bhr_[\w-]+")


def made_key(folder: Path) -> str:
    """Make a key that may do all, in the store of a service that starts later."""
    command = [sys.executable, "-m", "headrace", "keys", "add", "--scope", "admin"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    found = KEY.search(done.stdout)
    assert found, done.stdout
    return found[0]


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_answer_of_the_service_is_a_surprise(
    tmp_path: Path, serve: Callable[..., Any], provide: Callable[..., Any]
) -> None:
    key = made_key(tmp_path)
    with (
        provide() as there,
        serve("--base-url", there, "--max-attempts", "1") as served,
    ):
        options = [
            *("--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{served.url}/openapi.json", "--no-color", "--no-shrink"),
            *("--header", f"Authorization: Bearer {key}"),
            *("--phases", "examples,coverage,fuzzing"),
        ]
        walked = subprocess.run(
            [sys.executable, "-c", RUN, *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert walked.returncode == 0, walked.stdout[-20_000:] + walked.stderr
    assert "Failures:" not in walked.stdout
