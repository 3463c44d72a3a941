"""Kills a real `headrace serve` in chosen states of a batch, and checks what is left.

What stands in the store is read from copies of its files, so that the reader takes no
part in what the next process finds.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from shell_live import COMMAND, clean_environment

CHAT = "/v1/chat/completions"
ENDS = frozenset({"completed", "failed", "expired", "cancelled"})
STATES = ("validating", "in_progress", "finalizing", "cancelling")
_POLL_S = 0.003
_PATIENCE_S = 900.0
_ANSWERED = (2, 3)
"""Succeeded, and failed, as the stores keep it."""
_WRONG_EVERY = 2
"""Of so many lines one is refused, so that there is a file of errors, too."""


@dataclass
class Spot:
    """What stood in the store at one kill."""

    state: str
    stored: frozenset[int]
    """`seq` of each line with an answer."""
    calls: dict[int, int]
    """How often the provider had been asked for each line."""
    files: frozenset[str]
    """Ids of all files that were whole."""


@dataclass
class Findings:
    """What came of the kills; `faults` is empty if all is well."""

    kills: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    """Kills that came when the state was over."""
    lines: int = 0
    calls: int = 0
    poisoned: int = 0
    went_on_s: list[float] = field(default_factory=list)
    """From each start to the first outcome stored after it."""
    faults: list[str] = field(default_factory=list)

    def expect(self, is_so: bool, otherwise: str) -> None:
        """Note a fault unless something is so."""
        if not is_so:
            self.faults.append(otherwise)


class Service:
    """One service in a folder, started again and again before the same provider."""

    def __init__(self, folder: Path, upstream: str, *flags: str) -> None:
        self.folder = folder
        self.upstream = upstream
        self._flags = ("--base-url", upstream, "--in-flight", "64", *flags)
        self._process: subprocess.Popen[str] | None = None
        self._view: sqlite3.Connection | None = None
        self.url = ""

    def start(self) -> None:
        """Begin to start; `wait_ready` waits until it answers."""
        with (self.folder / "stderr").open("a") as errors:
            self._process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *self._flags],
                cwd=self.folder,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def wait_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        told = self._process.stdout.readline().split()
        if not told:
            raise RuntimeError((self.folder / "stderr").read_text())
        self.url = told[1]

    def kill(self) -> None:
        """End it as if the power had gone; idempotent."""
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def batch(self, id: str) -> dict[str, Any]:
        """Return a batch's document as it stands now; empty before there is one."""
        if self._view is None:
            self._view = _reading(self.folder / "headrace.db")
        return _batch(self._view, id)

    def succeeded(self, id: str) -> int:
        """Return how many lines have an answer."""
        job = self.batch(id).get("job")
        assert self._view is not None
        rows = self._view.execute("SELECT succeeded FROM jobs WHERE number = ?", (job,))
        return sum(row[0] for row in rows)

    def items(self) -> int:
        """Return how many items are in the store, of any job."""
        if self._view is None:
            self._view = _reading(self.folder / "headrace.db")
        return int(self._view.execute("SELECT count(*) FROM items").fetchone()[0])

    @contextmanager
    def left(self) -> Iterator[sqlite3.Connection]:
        """Look at what a killed process has left."""
        place = self.folder / "copy"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in self.folder.glob("headrace.db*"):
            if path.name in ("headrace.db", "headrace.db-wal"):
                shutil.copy(path, place)
        with closing(sqlite3.connect(place / "headrace.db")) as connection:
            yield connection

    def asked(self) -> dict[str, int]:
        """Return how often the provider was asked for each item, `<job>-<seq>`."""
        answer = httpx2.get(f"{self.upstream}/_stats?ids=all", timeout=60)
        counts: dict[str, int] = answer.json()["ids"]["items"]["all"]
        return counts


def input_of(lines: int, wrong_every: int | None = None) -> bytes:
    """Return an input; its lines are named `r0`, `r1`, …"""
    made = []
    for n in range(lines):
        is_wrong = wrong_every is not None and n % wrong_every == 0
        message = {"role": "user", "content": 0 if is_wrong else f"question {n}"}
        body = {"model": "m", "messages": [message], "max_tokens": 4}
        line = {"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": body}
        made.append(json.dumps(line))
    return "\n".join(made).encode()


class Killing:
    """Takes batches of one service through kills.

    Args:
        service: not started.
        lines: of each batch.
        chance: draws the instants.
        longest_s: by state, the longest time from its beginning to a kill.
    """

    def __init__(
        self,
        service: Service,
        lines: int,
        chance: random.Random,
        longest_s: dict[str, float],
    ) -> None:
        self._service = service
        self._lines = lines
        self._chance = chance
        self._longest_s = longest_s
        self._id = ""
        self._spots: list[Spot] = []
        self._earlier: set[str] = set()
        """Ids of the files of batches that have ended."""
        self.found = Findings()

    def run(self, states: Sequence[str], kills: int) -> Findings:
        """Kill so often in each state, in their order; then see the batch to its end."""
        try:
            for state in states:
                while self.found.kills[state] < kills:
                    self._once(state)
            if self._id:
                self._service.start()
                self._wait(lambda: self._state() in ENDS)
                self._service.wait_ready()
                self._check()
            return self.found
        finally:
            self._service.kill()

    def _once(self, state: str) -> None:
        service = self._service
        service.start()
        if not self._id:
            self._begin()
        began_at = time.monotonic()
        before = 0 if state != "in_progress" else self._succeeded()
        whole = len(self._whole())
        if state == "cancelling":
            self._cancel()
        self._wait(lambda: self._state() in ENDS | {state})
        if self._state() in ENDS:
            service.wait_ready()
            self._check()
            service.kill()
            return
        if state == "in_progress" and self.found.kills[state] % 2:
            self._wait(lambda: self._succeeded() > before or self._state() != state)
            self.found.went_on_s.append(time.monotonic() - began_at)
        if state == "finalizing" and self.found.kills[state] % 4 == 1:
            self._wait(lambda: len(self._whole()) > whole or self._state() != state)
        else:
            time.sleep(self._chance.uniform(0, self._longest_s[state]))
        service.kill()
        self._look(state)

    def _begin(self) -> None:
        """Upload an input and make a batch of it."""
        self._service.wait_ready()
        with httpx2.Client(base_url=self._service.url, timeout=60) as client:
            data = {"file": ("in.jsonl", input_of(self._lines, _WRONG_EVERY))}
            sent = client.post("/v1/files", data={"purpose": "batch"}, files=data)
            wanted = {
                "input_file_id": sent.json()["id"],
                "endpoint": CHAT,
                "completion_window": "24h",
            }
            self._id = client.post("/v1/batches", json=wanted).json()["id"]

    def _cancel(self) -> None:
        """Cancel the batch in its middle, unless that has been done."""
        if self._state() == "cancelling":
            return
        self._wait(lambda: self._state() in ENDS | {"in_progress"})
        self._wait(lambda: self._succeeded() > self._lines // 50)
        if not self._service.url or self.found.kills["cancelling"]:
            self._service.wait_ready()
        httpx2.post(f"{self._service.url}/v1/batches/{self._id}/cancel")

    def _look(self, state: str) -> None:
        """Note what a kill has left."""
        with self._service.left() as connection:
            batch = _batch(connection, self._id)
            if batch.get("state", "validating") != state:
                self.found.missed += 1
                return
            query = "SELECT seq FROM items WHERE job = ? AND state IN (?, ?)"
            rows = connection.execute(query, (batch.get("job"), *_ANSWERED))
            stored = frozenset(row[0] for row in rows)
        self.found.kills[state] += 1
        self._spots.append(Spot(state, stored, self._asked(batch), self._whole()))

    def _check(self) -> None:
        """Check a batch that has ended."""
        found, service = self.found, self._service
        batch = httpx2.get(f"{service.url}/v1/batches/{self._id}").json()
        end = "completed"
        if any(spot.state == "cancelling" for spot in self._spots):
            end = "cancelled"
        found.expect(batch["status"] == end, f"{batch['status']} instead of {end}")
        good = self._lines_of(batch["output_file_id"])
        bad = self._lines_of(batch["error_file_id"])
        names = Counter(line["custom_id"] for line in good + bad)
        wanted = Counter(f"r{n}" for n in range(self._lines))
        found.expect(names == wanted, f"lines differ: {_differing(names, wanted)}")
        codes = Counter((line["error"] or {}).get("code") for line in bad)
        counts = batch["request_counts"]
        told = (counts["total"], counts["completed"], counts["failed"])
        failed = len(bad) - codes["batch_cancelled"]
        found.expect(
            told == (self._lines, len(good), failed),
            f"counts {told}, the files have {(self._lines, len(good), failed)}",
        )
        refused = sum(1 for line in bad if (line["response"] or {}).get("status_code"))
        found.poisoned += failed - refused
        found.lines += self._lines
        self._check_calls(service.batch(self._id))
        self._check_files(batch)
        self._id, self._spots = "", []

    def _check_calls(self, batch: dict[str, Any]) -> None:
        asked = self._asked(batch)
        self.found.calls += sum(asked.values())
        for spot in self._spots:
            again = [n for n in spot.stored if asked[n] != spot.calls[n]]
            self.found.expect(
                not again, f"{len(again)} lines with an answer were called again"
            )

    def _check_files(self, batch: dict[str, Any]) -> None:
        """Check that what was written before a kill is what the batch names now."""
        kept = self._files()
        wanted = {batch[f"{what}_file_id"] for what in ("input", "output", "error")}
        wanted.discard(None)
        missing = wanted.union(*(spot.files for spot in self._spots)) - kept
        self.found.expect(not missing, f"files are not there: {missing}")
        extra = kept - wanted - self._earlier
        self.found.expect(not extra, f"files that nobody names: {extra}")
        self._earlier |= wanted

    def _files(self) -> set[str]:
        """Return the ids of all files, and the names of those that are being written."""
        folder = self._service.folder / "headrace.db.files"
        return {path.name for path in folder.iterdir()}

    def _whole(self) -> frozenset[str]:
        return frozenset(n for n in self._files() if not n.endswith(".partial"))

    def _lines_of(self, id: str | None) -> list[dict[str, Any]]:
        if not id:
            return []
        url = f"{self._service.url}/v1/files/{id}/content"
        data = httpx2.get(url, timeout=60).content
        return [json.loads(line) for line in data.splitlines()]

    def _asked(self, batch: dict[str, Any]) -> dict[int, int]:
        prefix = f"{batch.get('job_id')}-"
        return {
            int(name.removeprefix(prefix)): count
            for name, count in self._service.asked().items()
            if name.startswith(prefix)
        }

    def _state(self) -> str:
        state: str = self._service.batch(self._id).get("state", "validating")
        return state

    def _succeeded(self) -> int:
        return self._service.succeeded(self._id)

    def _wait(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not is_so():
            if time.monotonic() > until:
                raise TimeoutError(f"the batch stands as {self._state()}")
            time.sleep(_POLL_S)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)


def _batch(connection: sqlite3.Connection, id: str) -> dict[str, Any]:
    query = "SELECT body FROM documents WHERE kind = 'batch' AND id = ?"
    rows = connection.execute(query, (id,)).fetchall()
    found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
    return found


def _differing(names: Counter[str], wanted: Counter[str]) -> str:
    lost, more = wanted - names, names - wanted
    return f"{lost.total()} lost, {more.total()} too many"
