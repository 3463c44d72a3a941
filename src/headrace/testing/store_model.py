"""What a store should do, said once more in the plainest way: dicts and loops."""

from __future__ import annotations

from collections import Counter
from typing import Final

from headrace.jobs import Counts, FailurePolicy, JobState
from headrace.model import ITEM_ENDS, ItemState

RUNS: Final = ("queued", "in_progress", "paused", "cancelling")
UNFINISHED: Final = {"cancelled": "cancelled", "failed": "skipped"}


class ItemModel:
    """One item."""

    def __init__(self) -> None:
        self.state = "queued"
        self.owner = 0
        self.generation = 0
        self.attempts = 0
        self.rescues = 0


class JobModel:
    """One job and its items."""

    def __init__(self, items: int, policy: FailurePolicy) -> None:
        self.items = [ItemModel() for _ in range(items)]
        self.policy = policy
        self.state = "queued" if items else "finalizing"
        self.ending = "completed"
        self.has_started = False
        self.spent = 0
        """Tokens in, tokens out and dollars: the machine spends as much of each."""

    def counts(self) -> Counts:
        """Return how many items are in each state."""
        found = Counter(item.state for item in self.items)
        return Counts(total=len(self.items), **found)

    def settle(self) -> None:
        """Ask the failure policy, then whether everything has ended."""
        is_open = self.state in ("queued", "in_progress", "paused")
        if is_open and self.policy.ends_job(self.counts()):
            self.state, self.ending = "cancelling", "failed"
        if self.state in RUNS and all(i.state in ITEM_ENDS for i in self.items):
            self.state = "finalizing"

    def lease(self, owner: int, n: int) -> list[int]:
        """Give the first queued items to an owner."""
        if self.state not in ("queued", "in_progress"):
            return []
        taken = [k for k, item in enumerate(self.items) if item.state == "queued"][:n]
        for k in taken:
            self.items[k].state, self.items[k].owner = "running", owner
        if taken:
            self.state, self.has_started = "in_progress", True
        return taken

    def is_held(self, seq: int, owner: int, generation: int) -> bool:
        """Does this owner hold the item in that generation?"""
        item = self.items[seq]
        its = (item.state, item.owner, item.generation)
        return its == ("running", owner, generation)

    def end(self, seq: int, state: ItemState, attempts: int) -> None:
        """End an item; the caller settles the job."""
        self.items[seq].state, self.items[seq].attempts = str(state), attempts

    def requeue(self, seq: int) -> None:
        """Let an item wait again."""
        self.items[seq].state = "queued"

    def rescue(self, dead: set[int], max_rescues: int) -> int:
        """Queue what dead owners held; poison what has killed too many."""
        lost = [i for i in self.items if i.state == "running" and i.owner in dead]
        for item in lost:
            item.rescues += 1
            is_spent = item.rescues >= max_rescues and self.state != "cancelling"
            item.state = "failed" if is_spent else "queued"
        self.settle()
        return len(lost)

    def sweep(self) -> None:
        """End what a cancelling job has queued."""
        if self.state == "cancelling":
            for item in self.items:
                if item.state == "queued":
                    item.state = UNFINISHED[self.ending]
        self.settle()

    def allowed(self, doing: str) -> bool:
        """May this be done to the job now?"""
        states = {
            "cancel": (*RUNS, "finalizing"),
            "pause": ("queued", "in_progress"),
            "resume": ("paused",),
            "retry": ("finalizing", "completed", "failed", "cancelled"),
            "conclude": ("finalizing", "completed", "failed", "cancelled"),
        }
        return self.state in states[doing]

    def cancel(self) -> None:
        """Begin to cancel."""
        if self.state not in ("cancelling", "finalizing"):
            self.state, self.ending = "cancelling", "cancelled"

    def pause(self) -> None:
        """Start no more items."""
        self.state = "paused"

    def resume(self) -> None:
        """Go on."""
        self.state = "in_progress" if self.has_started else "queued"

    def conclude(self) -> None:
        """Come to the end."""
        if self.state == "finalizing":
            self.state = self.ending

    def retry(self) -> None:
        """Queue all but the successes in a new generation."""
        again = [i for i in self.items if i.state != "succeeded"]
        for item in again:
            item.state, item.attempts, item.rescues = "queued", 0, 0
            item.generation += 1
        if again:
            self.state, self.ending, self.has_started = "queued", "completed", False

    def job_state(self) -> JobState:
        """Return the state as the store says it."""
        return JobState(self.state)
