"""What is served beside the image routes."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.emulator import EmulatorServer
from tests.support.serving import KEY, Running, make_key, serving, settings_for


def samples(gateway: Running) -> dict[str, float]:
    """Every sample of /metrics, by its name and labels."""
    with gateway.client(key=None) as client:
        text = client.get("/metrics").text
    return {
        f"{s.name}{sorted(s.labels.items())}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_models_pass_through_with_what_the_upstream_says_of_them(gateway: Running) -> None:
    with gateway.client() as client:
        listing = client.get("/v1/models").json()
        one = client.get("/v1/models/deepshi-image-1").json()

    items = {item["id"]: item for item in listing["data"]}
    assert listing["object"] == "list"
    assert items["deepshi-image-1"] == one
    assert one["edit"] == {"supported": True, "max_reference_images": 5}
    assert items["deepshi-banana-pro"]["edit"]["supported"] is False


def test_a_key_sees_only_the_models_that_it_may_use(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings, key_terms={"models": "deepshi-solo-1,deepshi-image-1"})
    with serving(settings) as gateway, gateway.client() as client:
        listing = client.get("/v1/models").json()
        hidden = client.get("/v1/models/deepshi-multi-1")

    assert {item["id"] for item in listing["data"]} == {"deepshi-solo-1", "deepshi-image-1"}
    assert hidden.status_code == 404


def test_models_need_a_key(gateway: Running) -> None:
    with gateway.client(key=None) as client:
        assert client.get("/v1/models").status_code == 401


def test_health_and_readiness_need_none(gateway: Running) -> None:
    with gateway.client(key=None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready", "degraded": []}
        assert client.head("/healthz").status_code == 200


def test_readiness_names_what_is_degraded(tmp_path: Path, emulator: EmulatorServer) -> None:
    emulator.order(always={"models_status": 500})
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway, gateway.client() as client:
        ready = client.get("/readyz")
        unknown = gateway.edit()

    assert ready.status_code == 200
    assert ready.json()["degraded"] == ["catalogue: never loaded"]
    assert unknown.status_code == 200, "with no catalogue ever loaded the edit is forwarded"


def test_the_last_good_catalogue_outlives_a_restart(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        assert gateway.edit(images=6).status_code == 400
    emulator.order(always={"models_status": 500})
    with serving(settings) as gateway:
        answer = gateway.edit(images=6)

    assert answer.json()["error"]["code"] == "too_many_reference_images"
    assert emulator.stats()["calls"] == 0


def test_metrics_count_what_happened(gateway: Running) -> None:
    gateway.edit()
    gateway.edit()
    gateway.edit(images=6)
    found = samples(gateway)

    def requests(outcome: str) -> float:
        labels = [
            ("model", "deepshi-image-1"),
            ("outcome", outcome),
            ("route", "edits"),
            ("team", "design"),
        ]
        return found[f"gateway_requests_total{labels}"]

    money = [("model", "deepshi-image-1"), ("team", "design")]
    assert (requests("miss"), requests("hit")) == (1, 1)
    refused = [("code", "too_many_reference_images"), ("team", "design")]
    assert found[f"gateway_refusals_total{refused}"] == 1
    assert found[f"gateway_cost_dollars_total{money}"] == 0.01
    reuse = [("cause", "reuse"), *money]
    assert found[f"gateway_saved_dollars_total{reuse}"] == 0.01
    upstream = [("model", "deepshi-image-1"), ("result", "2xx"), ("upstream", "deepshi")]
    assert found[f"gateway_upstream_seconds_count{upstream}"] == 1
    assert found["gateway_overhead_seconds_count[('outcome', 'hit')]"] == 1


def test_metrics_with_a_token_are_for_who_has_it(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"metrics": {"token": "mt-1"}})
    with serving(settings) as gateway, gateway.client(key=None) as client:
        answers = [
            client.get("/metrics", headers={"authorization": value}).status_code
            for value in ("", "Bearer", "Bearer wrong", "Bearer mt-1")
        ]

    assert answers == [403, 403, 403, 200]


def test_metrics_without_a_token_are_not_for_what_came_through_a_proxy(gateway: Running) -> None:
    with gateway.client(key=None) as client:
        assert client.get("/metrics").status_code == 200
        forwarded = client.get("/metrics", headers={"x-forwarded-for": "127.0.0.1"})
        assert forwarded.status_code == 403


def test_the_journal_has_a_line_a_request_and_no_prompt_key_or_picture(gateway: Running) -> None:
    gateway.edit("a very secret prompt")
    gateway.edit("a very secret prompt", images=[b"not an image, also secret"])
    deadline = time.monotonic() + 5
    while gateway.log.getvalue().count('"event": "request"') < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    log = gateway.log.getvalue()

    assert log.count('"event": "request"') == 2
    assert '"outcome": "miss"' in log
    assert '"code": "invalid_image"' in log
    for secret in ("secret", KEY, "sk-emulator", "iVBOR"):
        assert secret not in log


def test_metrics_without_a_token_are_not_for_a_page_whose_name_leads_here(gateway: Running) -> None:
    """DNS rebinding: the browser of whoever runs the gateway asks, for a page of evil.example."""
    with gateway.client(key=None) as client:
        statuses = [
            client.get("/metrics", headers={"host": host}).status_code
            for host in ("evil.example", "localhost.evil.example", "localhost:80", "127.0.0.1")
        ]

    assert statuses == [403, 403, 200, 200]
