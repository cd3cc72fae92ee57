"""What the leader of a flight does besides what other files here promise."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.emulator import EmulatorServer
from tests.serving import Running, make_key, serving, settings_for
from tests.waiting import let_go, until

LABELS = '{model="deepshi-image-1",team="design"}'


def counted(gateway: Running, sample: str) -> float:
    """A sample of the metrics, which must be there."""
    with gateway.client(None) as client:
        shown = client.get("/metrics").text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", shown, re.MULTILINE)
    assert found, sample
    return float(found[1])


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


def test_what_a_request_waits_for_others_is_not_the_gateway_s_overhead(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """One is bought, one waits for a seat, and two share their calls; each is long."""
    settings = settings_for(tmp_path, emulator, {"upstream": {"max_connections": 1}})
    make_key(settings)
    emulator.order(always={"latency_seconds": 1.5})
    with serving(settings) as gateway, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(gateway.edit, f"make it {i % 2}") for i in range(4)]
        outcomes = sorted(each.result(60).headers["x-gateway-cache"] for each in asked)
        assert outcomes == ["COALESCED", "COALESCED", "MISS", "MISS"]
        for outcome in ("coalesced", "miss"):
            of = f'{{outcome="{outcome}",route="edits"}}'
            assert counted(gateway, f"gateway_request_seconds_sum{of}") > 4
            overhead = counted(gateway, f'gateway_overhead_seconds_sum{{outcome="{outcome}"}}')
            assert overhead < 1.4
