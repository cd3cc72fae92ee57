"""Every way in which the emulator can be told to fail, over a real socket."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from dataclasses import fields

import httpx
import pytest

from gateway.emulator import EmulatorServer, EmulatorSettings, Knobs
from tests.emulator.calling import Caller, error_of, picture_file, pictures_in


def test_a_latency_is_waited(caller: Caller) -> None:
    caller.next_call(latency_seconds=0.2)
    begun = time.monotonic()
    assert caller.edit().status_code == 200
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("status", [401, 402, 429, 500, 503])
def test_an_error_status_has_the_envelope_and_is_not_billed(caller: Caller, status: int) -> None:
    caller.next_call(status=status)
    assert error_of(caller.edit()) == (status, "emulated_failure")
    assert caller.stats()["billed_calls"] == 0


def test_an_error_may_say_when_to_come_back(caller: Caller) -> None:
    caller.next_call(status=429, retry_after=1.5)
    assert caller.edit().headers["retry-after"] == "1.5"


def test_a_failure_may_bill_all_the_same(caller: Caller) -> None:
    caller.next_call(status=500, bill=True)
    assert caller.edit().status_code == 500
    [row] = caller.emulator.statement()
    assert (row["cost_usd"], row["status"]) == ("0.01", 500)


def test_a_reset_before_reading_loses_the_upload_and_is_not_billed(caller: Caller) -> None:
    caller.next_call(reset_before_read=True)
    # Which error httpx raises depends on whether it was still writing.
    with pytest.raises(httpx.TransportError):
        caller.edit(references=[picture_file() + bytes(8_000_000)])
    stats = caller.stats()
    assert (stats["calls"], stats["billed_calls"]) == (1, 0)


def test_the_reset_is_a_tcp_reset(caller: Caller) -> None:
    caller.next_call(reset_before_read=True)
    request = b"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
    with socket.create_connection(address_of(caller.emulator), timeout=5) as connection:
        connection.sendall(request)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


@pytest.mark.parametrize(("bill", "billed_calls"), [(None, 1), (True, 1), (False, 0)])
def test_a_reset_after_reading_bills_unless_told_not_to(
    caller: Caller, bill: bool | None, billed_calls: int
) -> None:
    caller.next_call(reset_after_read=True, bill=bill)
    with pytest.raises(httpx.NetworkError):
        caller.edit()
    assert caller.stats()["billed_calls"] == billed_calls


def half_an_answer(caller: Caller) -> tuple[int, int, type[Exception]]:
    """Bytes promised, bytes received, and how the connection ended."""
    received = 0
    files = {"image": picture_file(size=(300, 300))}
    data = {"model": "deepshi-image-1", "prompt": "grey"}
    with caller.http.stream("POST", "/v1/images/edits", data=data, files=files) as answer:
        assert answer.status_code == 200
        promised = int(answer.headers["content-length"])
        try:
            for piece in answer.iter_raw():
                received += len(piece)
        except httpx.TransportError as broken:
            return promised, received, type(broken)
    raise AssertionError("the answer was whole")


def test_a_truncated_answer_is_shorter_than_it_promised(caller: Caller) -> None:
    caller.next_call(truncate=True)
    promised, received, ending = half_an_answer(caller)
    assert received == promised // 2
    assert ending is httpx.RemoteProtocolError
    assert caller.stats()["billed_calls"] == 1


def test_a_reset_in_the_middle_comes_after_the_headers(caller: Caller) -> None:
    caller.next_call(reset_mid_answer=True)
    promised, received, ending = half_an_answer(caller)
    assert received <= promised // 2
    assert ending is httpx.ReadError
    assert caller.stats()["billed_calls"] == 1


def test_garbage_is_a_200_that_is_no_json(caller: Caller) -> None:
    caller.next_call(garbage=True)
    answer = caller.edit()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert caller.stats()["billed_calls"] == 1


def test_an_answer_may_lack_its_picture(caller: Caller) -> None:
    caller.next_call(no_picture=True)
    answer = caller.edit()
    assert "data" not in answer.json()
    assert answer.json()["usage"]["cost"]["total_cost"] == 0.01


def test_a_slow_answer_trickles_but_is_whole(caller: Caller) -> None:
    quick = pictures_in(caller.edit())
    caller.next_call(slow_body=0.3)
    begun = time.monotonic()
    assert pictures_in(caller.edit()) == quick
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    ("knob", "text", "billed"),
    [
        ("missing", None, "0.01"),
        (None, "null", "0.01"),
        (-1, "-1", "0.01"),
        ("0.01", '"0.01"', "0.01"),
        (math.nan, "NaN", "0.01"),
        (True, "true", "0.01"),
        ({"usd": 0.5}, '{"usd": 0.5}', "0.01"),
        (0, "0", "0.00"),
        (0.02, "0.02", "0.02"),
        (0.0000000001, "1E-10", "0.000000001"),
        (1e9, "1000000000.0", "1000000000.00"),
    ],
)
def test_a_stated_cost_stands_as_given_and_is_billed_where_it_is_an_amount(
    caller: Caller, knob: object, text: str | None, billed: str
) -> None:
    order = json.dumps({"next": [{"cost": knob}]})
    assert caller.http.post("/emulator/faults", content=order).status_code == 200
    answer = caller.edit()
    cost = '"cost": {}' if text is None else f'"cost": {{"total_cost": {text}}}'
    assert f'"usage": {{{cost}}}}}' in answer.text
    assert caller.stats()["billed_usd"] == billed


def in_background(caller: Caller) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(caller.edit()))
    thread.start()
    return thread, answers


def until_in_flight(caller: Caller, count: int) -> None:
    deadline = time.monotonic() + 5
    while caller.emulator.stats()["in_flight"] != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_hung_call_is_billed_and_answers_once_released(caller: Caller) -> None:
    caller.next_call(hang=True)
    thread, answers = in_background(caller)
    deadline = time.monotonic() + 5
    while not caller.emulator.stats()["billed_calls"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not answers
    assert caller.http.post("/emulator/release").json() == {"released": 1}
    thread.join()
    assert len(pictures_in(answers[0])) == 1
    assert caller.stats()["billed_calls"] == 1


def test_a_hung_call_ends_when_the_client_leaves(caller: Caller) -> None:
    caller.next_call(hang=True, bill=False)
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "grey"},
            files={"image": picture_file()},
            timeout=0.3,
        )
    until_in_flight(caller, 0)
    assert caller.stats()["billed_calls"] == 0


def test_a_client_that_leaves_is_billed_all_the_same(caller: Caller) -> None:
    caller.next_call(latency_seconds=0.4)
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "grey"},
            files={"image": picture_file()},
            timeout=0.2,
        )
    until_in_flight(caller, 0)
    assert caller.stats()["billed_calls"] == 1


def test_queued_faults_meet_one_call_each_in_turn(caller: Caller) -> None:
    assert caller.order(next=[{"status": 500}, {}, {"status": 503}]).json() == {"queued": 3}
    assert [caller.edit().status_code for _ in range(4)] == [500, 200, 503, 200]


def test_a_standing_fault_meets_every_call_until_cleared(caller: Caller) -> None:
    caller.order(always={"status": 500}, next=[{"status": 503}])
    assert [caller.edit().status_code for _ in range(3)] == [503, 500, 500]
    caller.http.delete("/emulator/faults")
    assert caller.edit().status_code == 200


def test_a_header_turns_a_knob_for_its_own_call(caller: Caller) -> None:
    caller.order(always={"status": 500})
    answer = caller.edit(headers={"X-Emulator-Status": "429", "X-Emulator-Retry-After": "7"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    healed = caller.edit(headers={"x-emulator-status": "null", "x-emulator-cost": "missing"})
    assert healed.json()["usage"] == {"cost": {}}


def test_knobs_can_be_turned_from_the_start() -> None:
    settings = EmulatorSettings(knobs=Knobs(cost="0.05"))
    with EmulatorServer(settings) as server:
        caller = Caller(server)
        with caller.http:
            assert caller.edit().json()["usage"]["cost"]["total_cost"] == 0.05
        assert server.stats()["billed_nanos"] == 50_000_000


@pytest.mark.parametrize(
    "order",
    [
        {"next": [{"status": 500}, {"stattus": 500}]},
        {"next": [{"status": 200}]},
        {"next": [{"hang": "yes"}]},
        {"always": {"latency_seconds": -1}},
        {"always": {"slow_body": True}},
        {"always": []},
        {"next": {"status": 500}},
        {"nxt": []},
    ],
)
def test_an_order_that_makes_no_sense_is_refused_whole(
    caller: Caller, order: dict[str, object]
) -> None:
    assert error_of(caller.order(**order)) == (400, "invalid_field")
    assert caller.order(next=[]).json() == {"queued": 0}


def test_an_unknown_header_is_refused_by_name(caller: Caller) -> None:
    answer = caller.edit(headers={"x-emulator-latency": "3"})
    assert error_of(answer) == (400, "invalid_field")
    assert "latency_seconds" in answer.json()["error"]["message"]


def test_no_knob_is_turned_by_default() -> None:
    untouched = Knobs()
    assert not any(getattr(untouched, knob.name) for knob in fields(Knobs))
    assert untouched.turned({knob.name: None for knob in fields(Knobs) if "None" in str(knob.type)})


def address_of(server: EmulatorServer) -> tuple[str, int]:
    url = httpx.URL(server.origin)
    assert url.port
    return url.host, url.port
