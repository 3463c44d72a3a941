"""The npm client, unchanged, over everything that the service answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clients_live import HERE, link_node_modules, need_command, succeeded

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.parametrize("package", ["openai", "openai-6"])
def test_the_npm_client_gets_all_it_asks_for(
    place: Any, tmp_path: Path, package: str
) -> None:
    link_node_modules(tmp_path)
    shutil.copy(HERE / "node" / "every_call.mjs", tmp_path)
    command = [need_command("node"), "--test", "every_call.mjs"]
    environment = place.environment | {"CLIENT": package}
    printed = succeeded(command, folder=tmp_path, environment=environment)
    assert "pass 8" in printed, printed
