"""Which error leads to which exit code."""

import pytest

from headrace import errors
from headrace.cli.exits import Exit, exit_code, exiting

EXPECTED = [
    (errors.ConfigError("x"), Exit.USAGE),
    (errors.InputError("x"), Exit.USAGE),
    (errors.NotFound("x"), Exit.USAGE),
    (errors.WrongState("x", expected="a", found="b"), Exit.USAGE),
    (errors.OutputClosed("x"), Exit.INTERRUPTED),
    (errors.OutputLocked("x", pid=1), Exit.MACHINE),
    (errors.OutputError("x"), Exit.MACHINE),
    (errors.StoreError("x"), Exit.MACHINE),
    (errors.UpstreamDown("x"), Exit.UPSTREAM),
]


@pytest.mark.parametrize(("error", "code"), EXPECTED)
def test_each_error_has_its_code(error, code):
    assert exit_code(error) is code


def test_the_codes_are_those_that_scripts_rely_on():
    assert [int(code) for code in Exit] == [0, 1, 2, 3, 4, 5, 70]


def test_an_error_becomes_one_line_and_its_code():
    told = []
    with pytest.raises(SystemExit) as left, exiting("run", told.append):
        raise errors.StoreError("the database is locked")
    assert left.value.code == 5
    assert told == ["headrace run: the database is locked"]


def test_a_bug_is_no_answer():
    with pytest.raises(ZeroDivisionError), exiting("run"):
        1 / 0  # noqa: B018
