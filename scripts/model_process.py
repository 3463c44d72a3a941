"""The model's server of `model_server.py` as a process of whoever needs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running_model(log_path: Path, slots: int) -> Iterator[str]:
    """Run the model's server, and give its address.

    Raises:
        SystemExit: it did not start; the log says why.
    """
    program = Path(__file__).with_name("model_server.py")
    command = [sys.executable, str(program), "--slots", str(slots)]
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("ready "):
                break
        else:
            raise SystemExit(f"the model's server did not start; see {log_path}")
        try:
            yield f"http://127.0.0.1:{line.split()[1]}"
        finally:
            server.terminate()
