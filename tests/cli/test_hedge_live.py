"""`headrace run --hedge` as users meet it."""

import pytest

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_one_address_is_told_to_be_too_few_for_second_calls(place, fast):
    place.ask("in.jsonl", 2)
    done = place.call("run", "in.jsonl", "-o", "o.jsonl", "--base-url", fast, "--hedge")
    assert done.returncode == 0
    assert "--hedge: there is one address" in done.stderr
