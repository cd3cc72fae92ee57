"""`python -m tests.faults_of_many [EDITS [NAME …]]`: inflicts each fault twice, writes the page.

First in the order of the table, then in a random one. EDITS, 10,000 if left out, are asked for in
all; with names, only those faults are inflicted, and the page stays as it is.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence

from tests.faults_of_many import network, report
from tests.faults_of_many.faults import FAULTS, Fault
from tests.faults_of_many.observing import Observed, clients, observe
from tests.faults_of_many.site import missing, site

EDITS = 10_000


def reason_to_skip() -> str:
    return network.missing() or missing()


def inflict(rows: Sequence[Fault], edits: int) -> Iterator[Observed]:
    """Each in turn; so many edits in all."""
    with site() as made, clients(made) as asking:
        for number, fault in enumerate(rows):
            seen = observe(made, asking, fault, f"{fault.name}-{number}", edits // len(rows))
            sys.stderr.write(f"{seen}\n")
            yield seen


def in_turn_and_at_random() -> Sequence[Fault]:
    return [*FAULTS, *random.Random().sample(FAULTS, len(FAULTS))]


def main(edits: str = str(EDITS), *names: str) -> None:
    if reason := reason_to_skip():
        sys.exit(reason)
    wanted = [fault for name in names for fault in FAULTS if fault.name == name]
    observed = list(inflict(wanted or in_turn_and_at_random(), int(edits)))
    if not wanted:
        report.write(observed)
    sys.stdout.write(f"{report.table(observed)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
