"""The journal: lines that can be read by machines, and by which request they belong to."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from gateway.emulator import EmulatorServer
from gateway.telemetry.log import EventLog
from tests.support.serving import KEY, GatewayProcess, Running, make_key, settings_for, tables_of
from tests.support.waiting import let_go, until

LIBRARIES = """
import logging, sys, warnings
from gateway.telemetry.log import EventLog
log = EventLog(format=sys.argv[1], level="info")
log.capture_library_logs()
log = logging.getLogger("uvicorn.error")
log.info("not worth it")
log.warning("worth it: %s", 7)
try:
    {}["a prompt"]
except KeyError:
    log.exception("a fault\\n")
warnings.warn("old", DeprecationWarning)
"""


def written(gateway: Running, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in gateway.log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def libraries(format: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", LIBRARIES, format],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stderr


def test_what_libraries_log_is_in_the_journal_s_form_without_values() -> None:
    lines = [json.loads(line) for line in libraries("json").splitlines()]

    assert [(line["level"], line["logger"], line["event"]) for line in lines[:2]] == [
        ("warning", "uvicorn.error", "worth it: 7"),
        ("error", "uvicorn.error", "a fault"),
    ]
    assert (lines[1]["error"], len(lines[1]["where"])) == ("KeyError", 1)
    assert lines[2]["logger"] == "py.warnings"
    assert "a prompt" not in json.dumps(lines)
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_on_a_terminal_lines_are_for_people() -> None:
    said = libraries("console")
    assert "worth it: 7" in said
    assert not said.lstrip().startswith("{")


def test_a_request_s_line_has_its_stages_cost_and_key_but_not_the_secret(
    gateway: Running, emulator: EmulatorServer
) -> None:
    answer = gateway.edit("a private prompt")
    until(lambda: len(written(gateway, "request")) == 1)
    [line] = written(gateway, "request")

    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["outcome"], line["status"], line["cost_usd"]) == ("miss", 200, "0.01")
    assert line["key_id"].startswith("key_")
    assert {"authenticate", "admit", "read", "fingerprint", "look_up"} <= line["stages_ms"].keys()
    assert {"reserve", "forward", "settle", "store", "send"} <= line["stages_ms"].keys()
    assert "a private prompt" not in gateway.log.getvalue()
    assert KEY not in gateway.log.getvalue()


def test_a_retry_is_written_under_the_request_s_id(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"status": 503, "retry_after": 0})
    with ThreadPoolExecutor() as pool:  # beside others, whose ids are not to be mixed up
        asked = [pool.submit(gateway.edit, f"edit {number}") for number in range(4)]
        ids = {each.result(60).headers["x-request-id"] for each in asked}
    [retry] = written(gateway, "a call is tried again")

    assert retry["request_id"] in ids
    assert (retry["reason"], retry["attempt"]) == ("unavailable", 1)


def test_a_flight_that_lands_without_its_client_says_what_it_cost(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"hang": True})
    with ThreadPoolExecutor() as pool, gateway.client() as client:
        asked = pool.submit(
            client.post,
            "/v1/images/generations",
            json={"model": "deepshi-image-1", "prompt": "left behind"},
            timeout=2.0,
        )
        until(lambda: emulator.stats()["in_flight"] == 1)
        assert isinstance(asked.exception(60), httpx.ReadTimeout)
    until(lambda: len(written(gateway, "request")) == 1)
    let_go(emulator)
    until(lambda: len(written(gateway, "a flight ended after its client had left")) == 1)
    [request] = written(gateway, "request")
    [flight] = written(gateway, "a flight ended after its client had left")

    assert flight["request_id"] == request["request_id"]
    assert (request["code"], flight["cost_usd"]) == ("client_gone", "0.01")
    assert flight["stages_ms"]["forward"] > 0
    assert flight["key_id"] == request["key_id"]


def test_a_process_s_log_is_json_from_its_first_line_to_its_last(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    more = {"log": {"format": "json"}}
    make_key(settings_for(tmp_path, emulator))
    with GatewayProcess(tables_of(tmp_path, emulator, more), tmp_path) as process:
        process.edit()
        process.stop()
    lines = process.log.read_text().splitlines()
    written = [json.loads(line) for line in lines]
    events = [line["event"] for line in written]

    assert (events[0], events[-1]) == ("started", "stopped")
    assert f"the gateway serves at {process.url} until it is told to stop" in events
    assert "request" in events
    assert {line["level"] for line in written} == {"info"}


async def test_requests_that_end_together_are_written_together_and_before_what_comes_later() -> (
    None
):
    class Counted(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            Counted.writes += 1
            return super().write(text)

    out = Counted()
    log = EventLog(format="json", level="info", out=out)
    log.request(request_id="one")
    log.request(request_id="two")
    assert out.getvalue() == ""
    await asyncio.sleep(0)
    assert Counted.writes == 1

    log.request(request_id="three")
    log.info("later")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("request_id", line["event"]) for line in lines] == [
        "one", "two", "three", "later"
    ]  # fmt: skip
