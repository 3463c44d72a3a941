"""No file has a name that says nothing, and none says where packages come from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
HOSTS = re.compile(
    rb"index-url|pypi\.(?:org|python\.org)|pythonhosted|registry\.npm" + rb"js"
)


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


def test_no_file_names_a_registry() -> None:
    here = Path(__file__)
    named = [path for path in tracked() if HOSTS.search(path.read_bytes())]
    assert [path for path in named if path != here] == []
