"""The command `llm` with a model that the service answers for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clients_live import clients_python, succeeded

pytestmark = [pytest.mark.live, pytest.mark.slow]

MODELS = """
- model_id: river
  model_name: m
  api_base: {base}
  api_key_name: headrace
"""


@pytest.mark.parametrize("flags", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_llm_asks_a_model_of_the_service(
    place: Any, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    llm = str(clients_python().with_name("llm"))
    environment = place.environment | {"LLM_USER_PATH": str(tmp_path)}
    models = MODELS.format(base=environment["OPENAI_BASE_URL"])
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    (tmp_path / "keys.json").write_text(json.dumps({"headrace": place.key}))

    asked = [llm, "-m", "river", "Name a river.", *flags]
    said = succeeded(asked, folder=tmp_path, environment=environment).strip()
    assert said
    logged = [llm, "logs", "--json", "-n", "1"]
    kept = json.loads(succeeded(logged, folder=tmp_path, environment=environment))
    assert kept[0]["response"] == said
    assert kept[0]["output_tokens"] > 0
