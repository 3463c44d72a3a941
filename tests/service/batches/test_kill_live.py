"""A service killed in any state of a batch loses and doubles nothing.

`bench/kills.py` does the same with 50,000 lines and 20 kills in each state.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from killing import STATES, Killing, Service
from shell_live import providing

pytestmark = [pytest.mark.live, pytest.mark.slow]
LINES = 6_000
KILLS = 3
LONGEST_S = {
    "validating": 0.05,
    "in_progress": 0.5,
    "finalizing": 0.03,
    "cancelling": 0.04,
}


@pytest.mark.parametrize("state", STATES)
def test_a_batch_killed_again_and_again_ends_with_each_line_once(
    tmp_path: Path, state: str
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    with providing(tmp_path, "--latency", "constant:0.02") as url:
        service = Service(tmp_path, url)
        killing = Killing(service, LINES, random.Random(seed), LONGEST_S)
        found = killing.run([state], KILLS)
    assert found.faults == []
    assert found.poisoned == 0
    assert found.kills[state] == KILLS
