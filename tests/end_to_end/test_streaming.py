"""Streams, over a real socket: events as they come, and one cache for streams and plain edits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from gateway.settings import load
from tests.support.serving import Running, make_key, serving, settings_for
from tests.support.streams import EDIT, stream
from tests.support.upstreams import png, recording_upstream
from tests.support.usage import usage_of
from tests.support.waiting import until


def lines_of(gateway: Running) -> list[dict[str, object]]:
    """The journal's lines about requests."""
    lines = [json.loads(line) for line in gateway.log.getvalue().splitlines()]
    return [line for line in lines if "outcome" in line]


def test_partial_pictures_come_as_they_are_made_and_the_last_event_says_what_it_cost(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 0.8})
    answer = stream(gateway, partial_images=3)

    assert answer.kinds == ["partial"] * 3 + ["completed"]
    assert [d["partial_image_index"] for d in answer.documents[:3]] == [0, 1, 2]
    assert answer.seconds[0] < answer.seconds[3] - 0.4
    assert answer.seconds[1] < answer.seconds[2] < answer.seconds[3]
    assert answer.cost == {"total_cost": 0.01}
    assert not answer.broken
    assert emulator.stats()["billed_calls"] == 1


def test_a_stream_s_head_comes_before_its_cost_is_known(gateway: Running) -> None:
    headers = stream(gateway).headers

    assert headers["content-type"] == "text/event-stream"
    assert headers["x-gateway-cache"] == "MISS"
    assert headers["cache-status"].startswith('gateway; fwd=uri-miss; key="v2-')
    assert headers["x-gateway-reference-images"] == "1/5"
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-accel-buffering"] == "no"
    assert "x-gateway-cost-usd" not in headers
    assert "content-length" not in headers


def test_an_event_is_what_the_sdks_expect(gateway: Running) -> None:
    partial, completed = stream(gateway, partial_images=1).documents

    expected = {"type", "b64_json", "created_at", "size", "quality", "background", "output_format"}
    assert partial.keys() == {*expected, "partial_image_index"}
    assert completed.keys() >= {*expected, "usage"}


def test_a_later_plain_edit_is_served_from_a_stream(
    gateway: Running, emulator: EmulatorServer
) -> None:
    streamed = stream(gateway, partial_images=2)
    plain = gateway.edit()

    assert plain.headers["x-gateway-cache"] == "HIT"
    body = plain.json()
    assert body["data"] == [{"b64_json": streamed.completed["b64_json"], "index": 0}]
    assert body["created"] == streamed.completed["created_at"]
    assert body["model"] == "deepshi-image-1"
    assert body["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}
    assert not {"type", "created_at", "b64_json"} & body.keys()
    assert emulator.stats()["calls"] == 1


def test_a_later_stream_is_served_from_a_plain_edit(
    gateway: Running, emulator: EmulatorServer
) -> None:
    plain = gateway.edit()
    streamed = stream(gateway, partial_images=3)

    assert streamed.kinds == ["completed"]
    assert streamed.documents[0]["b64_json"] == plain.json()["data"][0]["b64_json"]
    assert streamed.cost == {"total_cost": 0, "saved_cost": 0.01}
    assert streamed.headers["content-type"] == "text/event-stream"
    assert streamed.headers["x-gateway-cache"] == "HIT"
    assert streamed.headers["x-gateway-cost-usd"] == "0"
    assert streamed.headers["x-gateway-saved-usd"] == "0.01"
    assert int(streamed.headers["age"]) <= 5
    assert emulator.stats()["calls"] == 1


def test_a_stream_that_was_made_before_is_a_hit_for_another_stream(
    gateway: Running, emulator: EmulatorServer
) -> None:
    first, second = stream(gateway, partial_images=1), stream(gateway)

    assert (first.outcome, second.outcome) == ("MISS", "HIT")
    assert first.completed["b64_json"] == second.completed["b64_json"]
    assert emulator.stats()["calls"] == 1


def test_directives_hold_for_streams(gateway: Running, emulator: EmulatorServer) -> None:
    stream(gateway)
    fresh = stream(gateway, headers={"x-gateway-cache-control": "no-cache"})
    bypass = stream(gateway, headers={"x-gateway-cache-control": "no-store"})
    absent = stream(gateway, prompt="other", headers={"cache-control": "only-if-cached"})

    assert (fresh.outcome, bypass.outcome) == ("REFRESHED", "BYPASS")
    assert "detail=no-store" in bypass.headers["cache-status"]
    assert (absent.status, absent.error["code"]) == (504, "not_cached")
    assert emulator.stats()["calls"] == 3


def test_a_generation_streams_too(gateway: Running, emulator: EmulatorServer) -> None:
    document = {"model": "deepshi-image-1", "prompt": "a boat", "size": "64x64", "stream": True}
    with gateway.client() as client:
        answer = client.post("/v1/images/generations", json={**document, "partial_images": 1})

    assert answer.headers["x-gateway-cache"] == "BYPASS"
    names = [line for line in answer.text.splitlines() if line.startswith("event:")]
    assert names == [
        "event: image_generation.partial_image",
        "event: image_generation.completed",
    ]
    assert emulator.stats()["billed_calls"] == 1


def test_a_stream_of_several_pictures_is_refused_before_it_costs(
    gateway: Running, emulator: EmulatorServer
) -> None:
    answer = stream(gateway, n="2", model="deepshi-multi-1")

    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        400,
        "unsupported_n",
        "n",
    )
    assert emulator.stats()["calls"] == 0


@pytest.mark.parametrize("spelling", ["true", "1"])
def test_stream_is_understood_as_the_upstream_does(gateway: Running, spelling: str) -> None:
    with gateway.client() as client:
        answer = client.post(
            "/v1/images/edits",
            data={**EDIT, "stream": spelling},
            files={"image": ("a.png", png(4, 4))},
        )

    assert answer.headers["content-type"] == "text/event-stream"


def test_an_upstream_that_does_not_stream_is_streamed_all_the_same(tmp_path: Path) -> None:
    with recording_upstream() as upstream:
        tables: dict[str, dict[str, Any]] = {
            "server": {"port": 0},
            "upstream": {"base_url": upstream.url, "api_key": "sk-upstream"},
            "cache": {"url": f"disk:{tmp_path / 'cache'}"},
            "state": {"url": f"sqlite:{tmp_path / 'gateway.db'}"},
        }
        settings = load(environment={}, overrides=tables)
        make_key(settings)
        with serving(settings) as gateway:
            answer = stream(gateway, partial_images=2)

    assert answer.kinds == ["completed"]
    assert answer.cost == {"total_cost": 0.01}
    assert answer.headers["x-gateway-cost-usd"] == "0.01"
    _, fields, _ = upstream.seen[0]
    assert {("stream", "true"), ("partial_images", "2")} <= set(fields)


def test_heartbeats_keep_a_stream_alive_that_has_nothing_to_say(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"server": {"stream_heartbeat_seconds": 0.1}})
    make_key(settings)
    emulator.order({"latency_seconds": 1.0})
    with serving(settings) as gateway:
        answer = stream(gateway)

    assert answer.heartbeats >= 4
    assert answer.cost == {"total_cost": 0.01}


def test_a_client_that_leaves_in_the_middle_does_not_stop_the_call(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 0.6})
    left = stream(gateway, partial_images=1, leave_after=1)
    until(lambda: gateway.app.parts.coalescing.flights.in_flight == 0)
    again = stream(gateway)

    assert left.kinds == ["partial"]
    assert again.outcome == "HIT"
    assert emulator.stats()["calls"] == emulator.stats()["billed_calls"] == 1
    until(lambda: len(lines_of(gateway)) == 2)
    assert [line.get("code") for line in lines_of(gateway)] == ["client_gone", None]


def test_journal_and_usage_tell_streams_as_they_tell_plain_edits(gateway: Running) -> None:
    stream(gateway, partial_images=1)
    stream(gateway)
    rows = usage_of(gateway, 2)
    miss, hit = lines_of(gateway)

    assert (miss["outcome"], miss["status"], miss["cost_usd"]) == ("miss", 200, "0.01")
    assert str(miss["upstream_request_id"]).startswith("req_emu_")
    assert (hit["outcome"], hit["cost_usd"], hit["saved_usd"]) == ("hit", "0", "0.01")
    assert [row["outcome"] for row in rows] == ["miss", "hit"]
