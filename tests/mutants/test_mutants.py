"""The list of faults cannot rot: every text is still in its file, once, and the tests that must notice exist.

`make mutants` puts the faults in and runs these tests.
"""

from __future__ import annotations

import ast

import pytest
from mutants.faults import ROOT, faults

FAULTS = faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.number} {fault.file}")
def test_a_fault_can_still_be_put_in(fault):
    source = (ROOT / fault.file).read_text("utf-8")
    changed = ast.dump(ast.parse(fault.put_into(source)))
    assert changed != ast.dump(ast.parse(source)), "it changes nothing but comments or blanks"
    assert all((ROOT / test).is_file() for test in fault.tests)


def test_there_are_many_and_none_is_there_twice():
    assert len(FAULTS) >= 60
    assert len({(fault.file, fault.before, fault.after) for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.file, fault.breaks) for fault in FAULTS}) == len(FAULTS)


def test_a_text_that_is_gone_is_told():
    with pytest.raises(ValueError, match=f"fault 1 .* {FAULTS[0].file} holds its text 0 times, not once"):
        FAULTS[0].put_into("nothing")
