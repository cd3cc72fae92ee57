"""Whatever befalls the hosts: the ledger has every bill, and no budget is exceeded."""

from __future__ import annotations

import pytest

from tests.faults_of_many import report
from tests.faults_of_many.__main__ import EDITS, in_turn_and_at_random, inflict, reason_to_skip
from tests.faults_of_many.faults import FAULTS

REASON = reason_to_skip()


@pytest.mark.long
@pytest.mark.skipif(bool(REASON), reason=REASON)
def test_ten_thousand_edits_under_every_fault_in_turn_and_at_random() -> None:
    observed = list(inflict(in_turn_and_at_random(), EDITS))
    report.write(observed)

    assert {each.fault.name for each in observed} == {fault.name for fault in FAULTS}
    for each in observed:
        row = f"{each.fault.name}: {each}"
        assert each.estimated >= 0, row
        assert (each.unbooked_calls, each.difference, each.overspent) == (0, 0, 0), row
        assert each.held == 0, row
        assert not each.bought_again or each.fault.buys_again, row
        assert each.is_normal, row
