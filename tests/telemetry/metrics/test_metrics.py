"""Labels are bounded, exemplars lead to a request, and a process on its own shows itself."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from gateway.cache.result_store import Counts, StoreFailure
from gateway.emulator import EmulatorServer
from gateway.model.outcome import Outcome
from gateway.runtime.job_table import job_table
from gateway.telemetry.metrics import Metrics
from tests.support.exposition import nanos, samples_of, scrape, total
from tests.support.serving import Running
from tests.support.waiting import let_go, until

OPENMETRICS = "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"


def shown(metrics: Metrics) -> str:
    return metrics.exposition()[0].decode()


def record(metrics: Metrics, *, model: str = "m", team: str = "t", key_id: str = "key_1") -> None:
    metrics.record_request(
        request_id="req_1",
        route="edits",
        model=model,
        team=team,
        key_id=key_id,
        outcome=Outcome.HIT,
        code="",
        seconds=0.1,
        waited_seconds=0.0,
        references=1,
        body_bytes=1000,
        saved_nanos=10_000_000,
        cause="reuse",
    )


def test_teams_and_keys_beyond_the_bound_are_other() -> None:
    metrics = Metrics("0", max_teams=200, max_keys=500)
    for number in range(600):
        record(metrics, team=f"team-{number % 250}", key_id=f"key_{number}")
    text = shown(metrics)
    keys = {sample.labels["key"] for sample in samples_of(text, "gateway_key_saved_dollars_total")}
    teams = {sample.labels["team"] for sample in samples_of(text, "gateway_requests_total")}

    assert (len(teams), len(keys)) == (201, 501)
    assert "other" in teams & keys
    assert nanos(text, "gateway_key_saved_dollars_total") == 600 * 10_000_000


def test_a_model_that_nobody_sells_takes_no_label() -> None:
    metrics = Metrics("0")
    metrics.learn_models(["known"])
    for model in ("known", "made-up", "", "other"):
        record(metrics, model=model)
    text = shown(metrics)

    assert total(text, "gateway_requests_total", model="known") == 1
    assert total(text, "gateway_requests_total", model="other") == 3


def test_a_store_that_is_asked_again_is_not_counted_again() -> None:
    metrics = Metrics("0")
    for _ in range(2):
        metrics.count_cache(Counts(evicted=3, damaged=1, failures={StoreFailure.TIMEOUT: 2}))
    metrics.count_cache(Counts(evicted=4, damaged=1, failures={StoreFailure.TIMEOUT: 2}))

    assert total(shown(metrics), "gateway_cache_evictions_total") == 4
    assert total(shown(metrics), "gateway_cache_damaged_total") == 1
    assert total(shown(metrics), "gateway_cache_failures_total", failure="timeout") == 2


def test_exemplars_name_the_request(gateway: Running) -> None:
    request_id = gateway.edit().headers["x-request-id"]
    found = {
        family.name: sample.exemplar.labels
        for family in openmetrics(scrape(gateway, OPENMETRICS, after=1))
        for sample in family.samples
        if sample.exemplar
    }

    assert found["gateway_request_seconds"] == {"request_id": request_id}
    assert found["gateway_cost_dollars"] == {"request_id": request_id}


@pytest.mark.parametrize("accept", ["*/*", "", "text/plain;version=1.0.0", "application/json"])
def test_who_does_not_ask_for_openmetrics_gets_plain_text(gateway: Running, accept: str) -> None:
    with gateway.client(key=None) as client:
        answer = client.get("/metrics", headers={"accept": accept})

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert total(answer.text, "gateway_build_info") == 1


def test_an_accept_header_that_makes_no_sense_breaks_nothing(gateway: Running) -> None:
    assert scrape(gateway, "application/openmetrics-text; version=abc").endswith("# EOF\n")


def test_a_process_on_its_own_shows_itself(gateway: Running) -> None:
    text = scrape(gateway)

    assert total(text, "process_resident_memory_bytes") > 1_000_000
    assert total(text, "process_open_fds") > 3
    assert total(text, "python_gc_collections_total", generation="0") > 0


def test_references_and_sizes_are_of_edits_that_were_read(gateway: Running) -> None:
    gateway.edit(images=3)
    gateway.edit(images=6)  # one too many
    text = scrape(gateway, after=2)

    assert total(text, "gateway_reference_images_sum", model="deepshi-image-1") == 3
    assert total(text, "gateway_body_bytes_count", model="deepshi-image-1") == 1
    assert total(text, "gateway_pictures_total", team="design") == 1


def test_a_cost_that_nobody_stated_is_counted_as_estimated(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"cost": "missing"})
    gateway.edit("of unknown cost")
    gateway.edit("of known cost")
    text = scrape(gateway, after=2)

    assert nanos(text, "gateway_estimated_dollars_total", team="design") == 10_000_000
    assert nanos(text, "gateway_cost_dollars_total", team="design") == 20_000_000


def test_calls_that_are_tried_again_or_refused_for_our_account_are_counted(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 503, "retry_after": 0}, {"status": 401})
    refused = gateway.edit()
    text = scrape(gateway)

    assert refused.json()["error"]["code"] == "upstream_account"
    assert total(text, "gateway_upstream_retries_total", reason="unavailable") == 1
    assert total(text, "gateway_upstream_account_refusals_total") == 1
    assert total(text, "gateway_cost_dollars_total") == 0


def test_a_series_of_money_begins_at_nothing_before_any_is_spent(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(gateway.edit)
        until(lambda: emulator.stats()["in_flight"] == 1)
        before = scrape(gateway)
        let_go(emulator)
        asked.result(60)

    design = {"team": "design", "model": "deepshi-image-1"}
    for name in ("cost_dollars", "estimated_dollars", "pictures", "overruns"):
        assert [s.value for s in samples_of(before, f"gateway_{name}_total", **design)] == [0]
    assert len(list(samples_of(before, "gateway_saved_dollars_total", **design))) == 3
    assert len(list(samples_of(before, "gateway_key_cost_dollars_total", team="design"))) == 1


def test_every_part_that_may_fail_is_exposed_as_0(gateway: Running) -> None:
    code = "\n".join(path.read_text() for path in Path("gateway").rglob("*.py"))
    naming = r"(?:on_failure[(,]\s*|checking\(|self\._write\(|RECOVERED_FAILURES\)\.labels\()"
    named = set(re.findall(naming + r'"([\w ]+)"', code))
    background = {f"background_{name}" for name in job_table(gateway.app.parts)}
    surveys = {"survey_state", "survey_results", "survey_disks"}
    counted = {
        sample.labels["part"]: sample.value
        for sample in samples_of(scrape(gateway), "gateway_trouble_total")
    }

    assert {"heartbeat", "keyring"} <= named
    assert counted == dict.fromkeys(named | background | surveys, 0)
