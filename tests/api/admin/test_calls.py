"""Reports wait for each other, and neither edits nor the check of keys for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, admin_settings, in_force
from tests.support.engines import connected, fresh_schema
from tests.support.serving import KEY, Running, make_key, serving

REPORTS = 12
"""More than either database has readers."""


@contextmanager
def reports_that_take_long(url: str) -> Iterator[None]:
    """Nobody reads the batches meanwhile, which only a listing of them does."""
    locked, ended = threading.Event(), threading.Event()

    async def lock(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
            locked.set()
            while not ended.is_set():
                time.sleep(0.01)

    thread = threading.Thread(target=connected, args=(url, lock))
    thread.start()
    locked.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def served(tmp_path: Path, emulator_server: EmulatorServer, postgres_url: str) -> Iterator[Running]:
    state = {"state": {"url": fresh_schema(postgres_url)}}
    settings = admin_settings(tmp_path, emulator_server, state)
    make_key(settings)
    with serving(settings) as running:
        yield running


def test_reports_of_one_keep_nobody_else_from_reading(served: Running) -> None:
    """With every reader taken, a revoked key stayed valid, and in the end none was accepted."""
    root = Api(served)
    finance = root.holder("finance")
    url = served.settings.state.url

    with reports_that_take_long(url):
        reports = [
            threading.Thread(target=asking.get, args=("/ledger/batches",))
            for asking in [finance, root] * REPORTS
        ]
        for report in reports:
            report.start()
        time.sleep(0.3)
        begun = time.monotonic()
        with served.client() as client:
            statuses = [client.get(path).status_code for path in ("/v1/key", "/v1/requests/req_1")]
        key = root.new_key("design")["secret"]
        in_force(lambda: served.edit(key=key).status_code == 200)
        took = time.monotonic() - begun
    for report in reports:
        report.join()

    assert (statuses, key != KEY) == ([200, 404], True)
    assert took < 5


@pytest.mark.parametrize("path", ["/v1/requests/a%00b/result", "/v1/requests/%00", "/%00"])
def test_a_name_that_postgresql_cannot_look_for_is_unknown(served: Running, path: str) -> None:
    with served.client() as client:
        answer = client.get(path)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
