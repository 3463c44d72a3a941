"""No file has a name that says nothing, and none says where packages come from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
LOCKS = ("*.lock", "pyproject.toml", "package-lock.json", "scripts/setup.sh")
SOURCE = re.compile(rb"index-url|find-links|://")


def tracked() -> list[Path]:
    """Return the files of the project: as git lists them, or as they lie there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    paths = [ROOT / name for name in names] or list((ROOT / "src").rglob("*"))
    return [path for path in paths if path.is_file()]


def test_no_name_is_empty_of_meaning() -> None:
    for path in tracked():
        parts = {part.partition(".")[0] for part in path.relative_to(ROOT).parts}
        assert not parts & EMPTY_NAMES, path


def test_no_lock_file_says_where_packages_come_from() -> None:
    locks = [path for path in tracked() if any(path.match(lock) for lock in LOCKS)]
    assert locks
    assert [path for path in locks if SOURCE.search(path.read_bytes())] == []
