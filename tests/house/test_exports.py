"""The names that users may rely on are few, sorted and there."""

from __future__ import annotations

import headrace

MOST_NAMES = 25


def test_the_public_names_are_few_and_sorted() -> None:
    assert list(headrace.__all__) == sorted(headrace.__all__)
    assert len(headrace.__all__) <= MOST_NAMES


def test_every_public_name_can_be_imported_and_says_what_it_is() -> None:
    for name in headrace.__all__:
        assert getattr(headrace, name).__doc__, name
