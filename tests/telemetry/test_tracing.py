"""Traces: a real collector gets what a request was spent on, and nothing of what it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.emulator import EmulatorServer
from gateway.settings import Settings, load
from gateway.telemetry.opentelemetry_spans import OpenTelemetrySpans
from tests.support.collector import Traces
from tests.support.exposition import scrape
from tests.support.receiver import Receiver, receiving
from tests.support.serving import KEY, PHOTOGRAPH, make_key, serving, settings_for
from tests.support.upstreams import recording_upstream
from tests.support.waiting import let_go, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CLIENT_SPAN}-01"
CALL = "generate_content deepshi-image-1"
SERVER = "POST /v1/images/edits"


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def settings(tmp_path: Path, emulator: EmulatorServer, collector: Receiver) -> Settings:
    endpoint = collector.url.removesuffix("/hooks/secret-path")
    tracing = {"endpoint": endpoint, "headers": ["x-collector-token=ct-1"]}
    found = settings_for(tmp_path, emulator, {"tracing": tracing})
    make_key(found)
    return found


def test_an_edit_and_a_hit_are_told_stage_by_stage_below_the_client_s_span(
    settings: Settings, collector: Receiver
) -> None:
    with serving(settings) as gateway:
        context = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
        miss = gateway.edit(headers=context)
        hit = gateway.edit()
    traces = Traces(collector)

    [first, second] = traces.all(SERVER)
    assert (first.kind, first.trace_id, first.parent_id) == ("server", TRACE, CLIENT_SPAN)
    assert traces.below(first) == [
        "authenticate", "admit", "read", "fingerprint", "look_up", "join", "send",
    ]  # fmt: skip
    assert first.facts["gateway.request_id"] == miss.headers["x-request-id"]
    assert first.facts["gateway.outcome"] == "miss"
    assert first.facts["gateway.cost_usd"] == 0.01
    assert first.facts["http.response.status_code"] == 200
    assert not first.failed

    flight = traces.one("flight")
    assert traces.below(traces.one("join")) == ["flight"]
    assert [name for name in traces.below(flight) if name != "queue"] == [
        "look_again", "first_call", "reserve", "forward", "settle", "store",
    ]  # fmt: skip
    assert (flight.facts["gateway.cost_usd"], flight.facts["gateway.stored"]) == (0.01, True)

    assert second.trace_id != TRACE
    assert second.facts["gateway.request_id"] == hit.headers["x-request-id"]
    assert (second.parent_id, second.facts["gateway.outcome"]) == ("", "hit")
    assert second.facts["gateway.saved_usd"] == 0.01
    assert traces.below(second) == [
        "authenticate", "admit", "read", "fingerprint", "look_up", "send",
    ]  # fmt: skip
    assert first.resource["service.name"] == "image-edit-gateway"
    assert {post.headers["x-collector-token"] for post in collector.posts} == {"ct-1"}


def test_the_upstream_call_speaks_genai_and_hands_on_the_context(
    settings: Settings, collector: Receiver
) -> None:
    with recording_upstream() as upstream:
        section = settings.upstream.model_copy(update={"base_url": upstream.url})
        with serving(settings.model_copy(update={"upstream": section})) as gateway:
            context = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "a=b"}
            assert gateway.edit(headers=context, images=2).status_code == 200
        [(headers, _, _)] = upstream.seen
        port = int(upstream.url.rpartition(":")[2].partition("/")[0])
    traces = Traces(collector)
    call = traces.one(CALL)

    assert headers["traceparent"] == f"00-{TRACE}-{call.span_id}-01"
    assert headers["tracestate"] == "vendor=1"
    assert "baggage" not in headers
    assert call.kind == "client"
    assert traces.below(traces.one("forward")) == [CALL]
    expected = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "deepshi",
        "gen_ai.request.model": "deepshi-image-1",
        "gen_ai.output.type": "image",
        "server.address": "127.0.0.1",
        "server.port": port,
        "gateway.cost_usd": 0.01,
        "gateway.reference_images": 2,
        "http.response.status_code": 200,
    }
    assert expected.items() <= call.facts.items()


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        (["a=" + "x" * 256, "b=" + "y" * 256], 1),
        (["a=1", "b=" + "y" * 255, "c=" + "z" * 255], 2),
        ([f"m{number}=" + "x" * 250 for number in range(32)], 2),
    ],
)
def test_a_client_s_tracestate_goes_upstream_within_bounds(members: list[str], kept: int) -> None:
    spans = OpenTelemetrySpans(
        endpoint="http://127.0.0.1:9", headers={}, service_name="x", version="0", sample_ratio=0
    )
    sent = {"traceparent": TRACEPARENT.removesuffix("1") + "0", "tracestate": ",".join(members)}
    with spans.request("x", sent, {}):
        outgoing = spans.outgoing()
    spans.close()
    assert outgoing["tracestate"].split(",") == members[:kept]


def test_a_flight_goes_on_in_its_trace_and_is_linked_with_who_follows_it(
    settings: Settings, collector: Receiver, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with serving(settings) as gateway, ThreadPoolExecutor() as pool:
        with gateway.client() as client:
            asked = pool.submit(
                client.post,
                "/v1/images/edits",
                data={"model": "deepshi-image-1", "prompt": "make it grey"},
                files=[("image[]", ("0.jpg", PHOTOGRAPH))],
                headers={"traceparent": TRACEPARENT},
                timeout=2.0,
            )
            until(lambda: emulator.stats()["in_flight"] == 1)
            assert isinstance(asked.exception(60), httpx.ReadTimeout)
        until(lambda: '"client_gone"' in gateway.log.getvalue())
        follower = pool.submit(gateway.edit)
        until(lambda: gateway.app.parts.coalescing.flights.followers == 1)
        let_go(emulator)
        assert follower.result(60).headers["x-gateway-cache"] == "COALESCED"
    traces = Traces(collector)
    flight = traces.one("flight")
    [left, followed] = traces.all("join")
    [gone, _] = traces.all(SERVER)

    assert flight.trace_id == gone.trace_id == TRACE
    assert flight.ended > gone.ended
    assert gone.facts["gateway.code"] == "client_gone"
    assert flight.parent_id == left.span_id
    assert followed.trace_id != TRACE
    assert (list(flight.links), list(followed.links)) == ([followed.span_id], [flight.span_id])


def test_what_went_wrong_is_named(
    settings: Settings, collector: Receiver, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 500})
    with serving(settings) as gateway:
        assert gateway.edit().status_code == 502
        assert gateway.edit(images=6).status_code == 400
    traces = Traces(collector)
    [broken, refused] = traces.all(SERVER)

    for span in (traces.one(CALL), traces.one("flight"), broken):
        assert (span.failed, span.facts["error.type"]) == (True, "upstream_failed")
    assert not refused.failed, "a request that is refused is no failure of the server"
    assert refused.facts["gateway.code"] == "too_many_reference_images"
    assert [span.failed for span in traces.all("read")] == [False, True]


def test_no_prompt_picture_or_secret_is_in_a_span(
    settings: Settings, collector: Receiver, emulator: EmulatorServer
) -> None:
    with serving(settings) as gateway:
        gateway.edit("a private prompt")
        gateway.edit("a private prompt", model="a private prompt")
        gateway.edit("a private prompt", images=[b"not an image, also private"])
        gateway.edit("a private prompt", key="sk-wrong-private-key")
    sent = b"".join(post.body for post in collector.posts)

    assert len(Traces(collector).all(SERVER)) == 4
    for secret in (b"private", KEY.encode(), b"sk-wrong", b"iVBOR", PHOTOGRAPH[20:60]):
        assert secret not in sent


def test_the_journal_and_the_exemplars_name_the_trace(settings: Settings) -> None:
    with serving(settings) as gateway:
        gateway.edit(headers={"traceparent": TRACEPARENT})
        text = scrape(gateway, "application/openmetrics-text", after=1)
        log = gateway.log.getvalue()
    exemplars = [
        sample.exemplar.labels
        for family in text_string_to_metric_families(text)
        if family.name == "gateway_request_seconds"
        for sample in family.samples
        if sample.exemplar
    ]
    [line] = [line for line in map(json.loads, log.splitlines()) if line["event"] == "request"]

    assert line["trace_id"] == TRACE
    assert exemplars == [{"request_id": line["request_id"], "trace_id": TRACE}]


def test_a_ratio_of_nothing_keeps_only_what_clients_keep(
    settings: Settings, collector: Receiver
) -> None:
    section = settings.tracing.model_copy(update={"sample_ratio": 0.0})
    with serving(settings.model_copy(update={"tracing": section})) as gateway:
        gateway.edit("one")
        gateway.edit("two", headers={"traceparent": TRACEPARENT})

    assert [span.trace_id for span in Traces(collector).all(SERVER)] == [TRACE]


def test_a_collector_that_is_gone_holds_nobody_up(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, {"tracing": {"endpoint": "http://127.0.0.1:9"}})
    make_key(settings)
    with serving(settings) as gateway:
        assert gateway.edit().status_code == 200


OFF = """
import sys
from gateway.api.app import create_app
from gateway.settings import load
create_app(load(environment={}, overrides={"state": {"url": "sqlite:" + sys.argv[1]}}))
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "google"))]
"""
WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from gateway.cli import main
main()
"""


def test_tracing_that_is_off_is_not_even_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFF, str(tmp_path / "gateway.db")],
        capture_output=True, text=True, timeout=60, env={**os.environ, "DEEPSHI_API_KEY": "k"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_without_the_extra_a_start_says_which_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[tracing]\nendpoint = "http://localhost:4318"\n'
        '[upstream]\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "serve", "--config", str(config)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'image-edit-gateway[otel]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1

    checked = subprocess.run(
        [sys.executable, "-c", WITHOUT, "check", "--config", str(config)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "tracing   FAULT: [tracing] endpoint: traces need the extra" in checked.stdout


def test_a_header_without_a_name_is_a_fault_of_the_settings() -> None:
    with pytest.raises(Exception, match="NAME=VALUE"):
        load(environment={}, overrides={"tracing": {"headers": ["just-a-token"]}})
