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


def test_llm_asks_a_model_of_the_service_streamed_and_whole(
    place: Any, tmp_path: Path
) -> None:
    llm = str(clients_python().with_name("llm"))
    environment = place.environment | {"LLM_USER_PATH": str(tmp_path)}
    models = MODELS.format(base=environment["OPENAI_BASE_URL"])
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    (tmp_path / "keys.json").write_text(json.dumps({"headrace": place.key}))

    def said(*words: str) -> str:
        return succeeded([llm, *words], folder=tmp_path, environment=environment)

    streamed = said("-m", "river", "Name a river.").strip()
    whole = said("-m", "river", "Name a river.", "--no-stream").strip()
    logged = json.loads(said("logs", "--json"))
    assert {each["response"] for each in logged} == {streamed, whole}
    assert all(each["output_tokens"] > 0 for each in logged)
