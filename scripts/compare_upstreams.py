"""Runs one batch on a real model and on the simulated provider, and compares them.

Both stand behind a `headrace serve` of their own, and the official client drives both. The
simulated provider takes as long for a call as the model took. Ends with 0 if all that a
client may rely on is the same, else with 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from model_process import running_model
from openai import OpenAI

SLOTS = 4
MODEL = "smollm2"
PLACES = ("Austria", "Brazil", "Canada", "Egypt", "France", "India", "Japan", "Poland")
ENDS = ("completed", "failed", "expired", "cancelled")
CHAT: Any = "/v1/chat/completions"
POLL_S = 0.1
WIDTH = 38


@dataclass(frozen=True)
class Course:
    """What came of the batch in front of one upstream."""

    took_s: float
    batch: Any
    answers: dict[str, Any]
    errors: dict[str, Any]
    pieces: int

    @property
    def call_s(self) -> float:
        """How long one call took, about."""
        return self.took_s * SLOTS / max(len(self.answers), 1)

    def promised(self) -> dict[str, object]:
        """Return what must not depend on the upstream."""
        counts = self.batch.request_counts
        return {
            "status": self.batch.status,
            "lines": counts.total,
            "answered": counts.completed,
            "failed": counts.failed,
            "in the output file": ", ".join(sorted(self.answers)),
            "in the error file": ", ".join(sorted(self.errors)),
            "status of the errors": sorted(
                row["response"]["status_code"] for row in self.errors.values()
            ),
            "parts of a line": ", ".join(sorted(parts(self.answers))),
        }

    def measured(self) -> dict[str, object]:
        """Return what is the upstream's own."""
        usage = self.batch.usage
        return {
            "seconds": f"{self.took_s:.1f}",
            "seconds a call, about": f"{self.call_s:.2f}",
            "tokens in": usage.input_tokens,
            "tokens out": usage.output_tokens,
            "events of a streamed chat": self.pieces,
            "an answer": said(self.answers),
        }


def parts(answers: dict[str, Any]) -> set[str]:
    """Return the names that each answer has, down to the message."""
    found = []
    for row in answers.values():
        body = row["response"]["body"]
        message = body["choices"][0]["message"]
        names = {*row, *row["response"], "usage"} if "usage" in body else {*row}
        found.append({*names, "content"} if "content" in message else names)
    return set.intersection(*found) if found else set()


def said(answers: dict[str, Any]) -> str:
    """Return the beginning of the first answer."""
    for _, row in sorted(answers.items()):
        text = row["response"]["body"]["choices"][0]["message"]["content"]
        return " ".join(text.split())
    return ""


def requests(count: int) -> str:
    """Return so many lines of a batch; the last one is wrong."""
    rows = []
    for n in range(count):
        question = f"Name a river in {PLACES[n % len(PLACES)]}."
        messages: Any = [{"role": "user", "content": question}]
        body = {"model": MODEL, "messages": messages, "max_tokens": 16}
        if n == count - 1:
            body["messages"] = "no list"
        rows.append({"custom_id": f"r{n}", "method": "POST", "body": body})
    return "".join(json.dumps(row | {"url": CHAT}) + "\n" for row in rows)


@contextmanager
def headrace(folder: Path, *words: str) -> Iterator[str]:
    """Run a server of ours; give what it says after `ready`."""
    command = [sys.executable, "-m", "headrace", *words]
    log = (folder / f"{words[0]}.log").open("wb")
    with (
        log,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        assert server.stdout is not None
        word, _, where = server.stdout.readline().strip().partition(" ")
        try:
            if word != "ready":
                raise SystemExit(Path(log.name).read_text())
            yield where
        finally:
            server.terminate()


def run(folder: Path, upstream: str, text: str) -> Course:
    """Send the batch through a service in front of an upstream."""
    folder.mkdir()
    flags = ("--port", "0", "--base-url", upstream, "--in-flight", str(SLOTS))
    with (
        headrace(folder, "serve", *flags) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        file = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
        started = monotonic()
        batch = client.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h"
        )
        while batch.status not in ENDS:
            sleep(POLL_S)
            batch = client.batches.retrieve(batch.id)
        took_s = monotonic() - started
        return Course(
            took_s,
            batch,
            rows(client, batch.output_file_id),
            rows(client, batch.error_file_id),
            streamed(client),
        )


def rows(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    """Return the lines of a result file by their names."""
    if not file_id:
        return {}
    found = map(json.loads, client.files.content(file_id).iter_lines())
    return {row["custom_id"]: row for row in found}


def streamed(client: OpenAI) -> int:
    """Return in how many events a chat came."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Name a river."}],
        max_tokens=16,
        stream=True,
    )
    return sum(1 for _ in stream)


def table(real: dict[str, object], simulated: dict[str, object]) -> Iterator[str]:
    """Give a line for each fact of the two."""
    for name, fact in real.items():
        other = simulated[name]
        shown = f"  {name:{WIDTH - 10}}{brief(fact):{WIDTH + 2}}"
        yield shown + ("the same" if fact == other else brief(other))


def brief(fact: object) -> str:
    """Return the beginning of a fact."""
    text = str(fact)
    return text if len(text) <= WIDTH else text[: WIDTH - 2] + " …"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=24, help="lines of the batch (24)")
    count = parser.parse_args().lines
    if count < 2:
        parser.error(f"--lines {count}: allowed is 2 or more")
    text = requests(count)
    with tempfile.TemporaryDirectory(prefix="headrace-") as name:
        folder = Path(name)
        with running_model(folder / "model_server.log", SLOTS) as upstream:
            real = run(folder / "model", upstream, text)
        latency = f"lognormal:{real.call_s:.3f}:0.3"
        flags = ("--model", MODEL, "--latency", latency)
        with headrace(folder, "provider", "--port", "0", *flags) as port:
            simulated = run(folder / "simulated", f"http://127.0.0.1:{port}", text)
    is_same = real.promised() == simulated.promised()
    print(f"  {'':{WIDTH - 10}}{'SmolLM2-135M':{WIDTH + 2}}simulated provider")
    print(*table(real.promised(), simulated.promised()), sep="\n")
    print(*table(real.measured(), simulated.measured()), sep="\n")
    print("What a client may rely on", "is the same." if is_same else "DIFFERS.")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
