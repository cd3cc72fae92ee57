"""Asking what became of a request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.serving import KEY, Running, Served

SharedGauges = dict[str, Any]


def inquire(served: Served, request_id: str, key: str | None = KEY) -> httpx.Response:
    with served.client(key) as client:
        return client.get(f"/v1/requests/{request_id}")


def told_of(served: Served, answer: httpx.Response | str) -> SharedGauges:
    """What is told of a request, by its answer or its id."""
    request_id = answer if isinstance(answer, str) else answer.headers["x-request-id"]
    found = inquire(served, request_id)
    assert found.status_code == 200, found.text
    told: SharedGauges = found.json()
    assert told["id"] == request_id
    return told


def told_once(
    served: Served,
    answer: httpx.Response | str,
    true: Callable[[SharedGauges], bool],
    seconds: float = 30.0,
) -> SharedGauges:
    """The same, asked until it is so; another process may not have written it yet."""
    request_id = answer if isinstance(answer, str) else answer.headers["x-request-id"]
    deadline = time.monotonic() + seconds
    while True:
        found = inquire(served, request_id)
        told: SharedGauges = found.json()
        if found.status_code == 200 and true(told):
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def retry_of(told: SharedGauges) -> tuple[str, bool]:
    """What a retry would do, and whether that is safe."""
    return told["retry"]["would"], told["retry"]["safe"]


def id_of_who_left(gateway: Running, seconds: float = 30.0) -> str:
    """The id of a request whose client has left: it is in the journal alone."""
    deadline = time.monotonic() + seconds
    while True:
        lines = [json.loads(line) for line in gateway.log.getvalue().splitlines()]
        for line in lines:
            if line.get("code") == "client_gone":
                return str(line["request_id"])
        assert time.monotonic() < deadline
        time.sleep(0.05)
