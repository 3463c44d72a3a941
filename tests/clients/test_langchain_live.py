"""langchain-openai, which stands on versions of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clients_live import HERE, clients_python, succeeded

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_langchain_gets_answers_streams_batches_and_embeddings(
    place: Any, tmp_path: Path
) -> None:
    program = HERE / "programs" / "langchain_calls.py"
    command = [str(clients_python()), str(program)]
    printed = succeeded(command, folder=tmp_path, environment=place.environment)
    got = json.loads(printed)
    assert got["one"]
    assert got["tokens"] > 0
    assert len([piece for piece in got["pieces"] if piece]) > 2
    assert len(got["many"]) == 20
    assert all(got["many"])
    assert got["by_responses"]
    assert len(got["vectors"]) == 3
    assert len(set(got["vectors"])) == 1
