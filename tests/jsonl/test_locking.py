"""Two runs never write to one OUT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.errors import OutputError, OutputLocked
from headrace.jsonl.locking import locked


def test_a_second_run_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "OUT.jsonl"
    with locked(out), pytest.raises(OutputLocked) as refused, locked(out):
        pass
    assert refused.value.pid == os.getpid()
    assert f"process {os.getpid()} is writing" in str(refused.value)


def test_the_lock_is_free_and_gone_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "OUT.jsonl"):
            assert (tmp_path / "OUT.jsonl.lock").read_text() == str(os.getpid())
    assert not list(tmp_path.iterdir())


def test_another_out_in_the_same_folder_is_free(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=r"OUT\.lock: No such file")
    with refused, locked(tmp_path / "none" / "OUT"):
        pass


@pytest.mark.slow
@pytest.mark.live
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from headrace.jsonl.locking import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    out = tmp_path / "OUT.jsonl"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputLocked) as refused, locked(out):
            pass
        holder.kill()
        holder.wait()
    assert refused.value.pid == holder.pid
    with locked(out):
        pass
