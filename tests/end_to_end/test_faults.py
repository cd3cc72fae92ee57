"""Every fault of the emulator, through the gateway; see `support/faults.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import pytest

from gateway.emulator import EmulatorServer, Knobs
from tests.support.documents import DOCS
from tests.support.faults import FAULTS, Fault, Gateways, gateways_of_faults, observe, page, row

PAGE = (DOCS / "faults.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def gateways(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Gateways]:
    with gateways_of_faults(tmp_path_factory.mktemp("faults"), emulator_server) as gateways:
        yield gateways


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_is_told_booked_and_survived(
    gateways: Gateways, emulator: EmulatorServer, fault: Fault
) -> None:
    seen = observe(fault, gateways.of(fault), emulator)

    assert seen == fault.seen
    assert row(fault, seen) in PAGE, "run `make docs`"


def test_every_knob_of_the_emulator_is_turned_in_some_row() -> None:
    turned = {name for fault in FAULTS for name in fault.turned}

    assert turned == {knob.name for knob in fields(Knobs)}


def test_the_page_has_a_row_for_each_fault_and_nothing_else() -> None:
    assert page(row(fault, fault.seen) for fault in FAULTS) == PAGE, "run `make docs`"


def test_the_ledger_is_never_below_the_bill() -> None:
    for fault in FAULTS:
        booked, billed = (
            float(text.strip("$").partition(" ")[0])
            for text in (fault.seen.costs, fault.seen.billed)
        )
        assert booked >= billed, fault.what
