"""What the leader of a flight does besides what other files here promise."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from gateway.emulator import EmulatorServer
from tests.serving import Running
from tests.waiting import let_go, until

LABELS = '{model="deepshi-image-1",team="design"}'


def counted(gateway: Running, sample: str) -> float | None:
    """A sample of the metrics; None where there is none."""
    with gateway.client(None) as client:
        shown = client.get("/metrics").text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", shown, re.MULTILINE)
    return float(found[1]) if found else None


def test_the_first_amount_of_a_team_is_counted_up_from_nothing(
    gateway: Running, emulator: EmulatorServer
) -> None:
    """Prometheus has to have seen the 0, or what comes first is in no increase."""
    samples = [
        f"gateway_{name}_total{LABELS}"
        for name in ("cost_dollars", "pictures", "estimated_dollars", "overruns")
    ]
    emulator.order({"hang": True})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        assert [counted(gateway, sample) for sample in samples] == [0.0] * 4
        let_go(emulator)
        assert asked.result(30).status_code == 200

    assert [counted(gateway, sample) for sample in samples] == [0.01, 1.0, 0.0, 0.0]
