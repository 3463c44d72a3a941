"""`headrace keys`: made once, shown, changed and revoked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.cli.main import app

pytestmark = pytest.mark.slow


def keys(folder: Path, *args: str) -> Any:
    """Run `headrace keys` on a store of its own; return its JSON, or what it refuses."""
    store = ("--store", str(folder / "h.db"), "--json")
    done = CliRunner().invoke(app, ["keys", *args, *store])
    return json.loads(done.stdout) if done.exit_code == 0 else done.stderr


def test_what_binds_a_key_is_shown_and_changed(tmp_path: Path) -> None:
    made = keys(tmp_path, "add", "--rpm", "60", "--budget-usd", "0.5")
    assert made["budget"] == {"usd": 0.5, "window": "total", "spent_usd": 0.0}
    changes = ("--rpm", "none", "--in-flight", "3", "--budget-window", "month")
    changed = keys(tmp_path, "change", made["id"], *changes)
    assert changed["limits"] == {
        "calls_per_minute": None,
        "tokens_per_minute": None,
        "in_flight": 3,
    }
    assert changed["budget"] == {"usd": 0.5, "window": "month", "spent_usd": 0.0}
    listed = keys(tmp_path, "list")
    assert listed == changed
    assert "key" not in listed
    assert keys(tmp_path, "revoke", made["id"])["revoked_at"] is not None


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ("--budget-usd", "NaN"),
            "--budget-usd: given NaN, allowed US dollars above 0",
        ),
        (("--budget-usd", "x"), "--budget-usd: given 'x'"),
        (("--budget-usd", "1", "--budget-window", "year"), "allowed total, day, week"),
        (("--budget-window", "day"), "--budget-window: given without --budget-usd"),
        (("--expires-in", "soon"), "--expires-in: given 'soon'"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_flag(
    tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    assert told in keys(tmp_path, "add", *flags)


def test_a_change_of_nothing_or_to_nothing_sensible_is_refused(tmp_path: Path) -> None:
    id = keys(tmp_path, "add")["id"]
    assert "given nothing to change" in keys(tmp_path, "change", id)
    assert "--in-flight" in keys(tmp_path, "change", id, "--in-flight", "1.5")
    assert "no key" in keys(tmp_path, "change", "key_x", "--rpm", "1")
