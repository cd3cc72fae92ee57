"""The books over `/admin/v1`: what finance does at the command line, with the same outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from gateway.api.admin.books import BOUNDS
from gateway.api.admin.inputs import ReconcileQuery
from gateway.cli import main
from gateway.cli.ledger_reconcile import reconcile
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.ledger.statements.file import FileBounds
from gateway.runtime.backends import open_database
from tests.api.admin.api_client import Api, admin_settings
from tests.end_to_end import test_refusals
from tests.ledger.tables.test_close_month import DECEMBER_MS
from tests.support.engines import fresh_schema
from tests.support.funds import CALLER, CENT, Till, caller
from tests.support.serving import Running, SteppedClock, serving

MONTH = "2026-11"
HEAD = "request_id,time,cost_usd\n"
CALLS = 20


def check_refused(answer: httpx.Response, status: int, code: str) -> str:
    """The message of a refusal."""
    return str(test_refusals.check_refused(answer, status, code)["message"])


def bill(of: Callable[[int], str] = lambda _: "1.00", *, without: int = 0) -> str:
    """A statement of the calls; `of` is what each of them costs by it."""
    lines = (f"up-c{each},2026-11-25T12:00:00Z,{of(each)}\n" for each in range(CALLS - without))
    return HEAD + "".join(lines)


BILL = bill(lambda each: "0.90" if each == 3 else "1.00")
"""One call of the twenty cost less."""


@dataclass
class Office:
    """A gateway in whose books are twenty calls of a dollar each, of a month that is over."""

    served: Running
    root: Api

    def reconcile(self, statement: str | bytes, **query: Any) -> httpx.Response:
        asked = {"period": MONTH, "edge": "0", **query}
        content = statement if isinstance(statement, bytes) else statement.encode()
        return self.root.ask("POST", "/ledger/reconcile", content=content, params=asked)

    def preview(self, statement: str, **query: Any) -> Any:
        answer = self.reconcile(statement, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def spent(self) -> str:
        return str(self.root.get("/ledger/verify")["spent_usd"])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", id="postgresql")])
def office(
    request: pytest.FixtureRequest, tmp_path: Path, emulator_server: EmulatorServer
) -> Iterator[Office]:
    more: Any = None
    if request.param == "postgresql":
        more = {"state": {"url": fresh_schema(request.getfixturevalue("postgres_url"))}}
    settings = admin_settings(tmp_path, emulator_server, more)

    async def fill() -> None:
        database = open_database(settings.state)
        till = await Till(database).open(callers=(CALLER, caller("press", "k9")))
        for number in range(CALLS):
            await till.reserve(f"c{number}", 100 * CENT, upstream="deepshi")
            await till.settle(f"c{number}", 100 * CENT)
        await database.close()

    clock = SteppedClock()
    clock.step((DECEMBER_MS - now_ms()) / 1000)
    with serving(settings, clock) as served:
        asyncio.run(fill())
        yield Office(served, Api(served))


def test_a_month_is_reconciled_undone_and_closed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = office.root
    shown = office.preview(BILL)
    assert (shown["applied"], shown["changes"], shown["differing"]) == (False, 1, 1)
    assert shown["teams"] == [{"team": "design", "difference_usd": "-0.10"}]
    assert [row["request_id"] for row in shown["rows"]] == ["req-c3"]
    assert office.spent() == "20.00", "a preview books nothing"

    other = office.reconcile(bill(), confirm=shown["preview"])
    assert "is another by now" in check_refused(other, 409, "conflict")
    booked = office.preview(BILL, confirm=shown["preview"], reason="bill 4711")
    assert (booked["applied"], booked["after"]["difference_usd"]) == (True, "0")
    assert office.spent() == "19.90"
    (batch,) = root.every("/ledger/batches")
    assert (batch["id"], batch["by"], batch["reason"]) == (booked["batch"], "root", "bill 4711")

    undo = f"/ledger/batches/{booked['batch']}/undo"
    assert root.post(undo, dry_run=True)["undone_by"] is None
    assert office.spent() == "19.90"
    undone = root.post(undo)
    assert (undone["ledger_rows"], undone["cost_usd"]) == (1, "0.10")
    assert office.spent() == "20.00"
    check_refused(root.ask("POST", undo, json={}), 409, "conflict")

    office.preview(BILL, confirm=office.preview(BILL)["preview"])
    closed = root.post("/ledger/closings", period=MONTH, reason="it agrees")
    assert (closed["spent_usd"], closed["closed_by"]) == ("19.90", "root")
    assert root.post("/ledger/closings", period=MONTH) == closed
    assert len(root.every("/ledger/batches", limit=2)) == 3

    monkeypatch.setenv("GATEWAY_STATE__URL", office.served.settings.state.url)
    monkeypatch.setenv("GATEWAY_SERVER__TIMEZONE", "UTC")
    for form in ("csv", "json", "focus", "chargeback"):
        answer = root.ask("GET", "/ledger/export", params={"format": form, "period": MONTH})
        command = ["ledger", "export", "--format", form, "--period", MONTH]
        assert answer.text == CliRunner().invoke(main, command).stdout, form
        assert answer.headers["x-gateway-books-closed"] == "true"
        head = root.ask("HEAD", "/ledger/export", params={"format": form, "period": MONTH})
        assert (head.status_code, head.content) == (200, b"")


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Office]:
    """A gateway with empty books; `deepshi` is its only upstream."""
    folder = tmp_path_factory.mktemp("desk")
    with serving(admin_settings(folder, emulator_server)) as served:
        yield Office(served, Api(served))


@pytest.mark.parametrize(
    ("statement", "query", "param", "told"),
    [
        ("", {}, "statement", "is empty"),
        ("id,amount\n", {}, "statement", "what the statement calls it by column"),
        ("id,amount\n", {}, "statement", "columns' names by title_lines"),
        (HEAD.encode("utf-16"), {}, "statement", "give encoding utf-16"),
        (HEAD + "a,2026-11-25T12:00:00Z,much\n", {}, "statement", "line 2"),
        (HEAD + "a,2026-10-25T12:00:00Z,1\n", {}, "statement", "2026-10"),
        (HEAD + 2 * "a,2026-11-25T12:00:00Z,1\n", {}, "statement", "duplicates once, or add"),
        (HEAD + "a," + 100_001 * "x" + ",1\n", {}, "statement", "field larger"),
        ("[" + 2**23 * " " + "]", {}, "statement", "8,388,608 bytes of JSON"),
        (BILL, {"upstream": "deepsi"}, "upstream", "Did you mean 'deepshi'"),
        (BILL, {"period": "November"}, "period", "takes a month such as 2026-11"),
        (BILL, {"column": ["cost=a", "price=b"]}, "column", "'price=b' is no NAME=COLUMN"),
        (BILL, {"rate": "USD=1"}, "rate", "EUR=1.08"),
        (BILL, {"numbers": "roman"}, "numbers", "'plain', 'us' or 'german'"),
        (BILL, {"colum": "cost=a"}, "colum", "Did you mean 'column'"),
    ],
)
def test_a_wrong_statement_or_option_is_refused_by_its_name(
    desk: Office, statement: str | bytes, query: dict[str, Any], param: str, told: str
) -> None:
    answer = desk.reconcile(statement, **query)
    message = check_refused(answer, 400, "invalid_field")
    assert answer.json()["error"]["param"] == param
    assert told in message
    assert "--" not in message, "options are named as parameters"


def test_a_form_and_too_large_a_body_are_refused(
    desk: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = desk.root.ask("POST", "/ledger/reconcile", files={"file": BILL.encode()})
    assert "--data-binary" in check_refused(form, 415, "unsupported_media_type")
    check_refused(desk.reconcile(b"x" * (BOUNDS.file_bytes + 1)), 413, "body_too_large")
    monkeypatch.setattr("gateway.api.admin.books.BOUNDS", FileBounds(lines=100))
    long = desk.reconcile(HEAD + 101 * "a,2026-11-25,1\n")
    assert "more than 100 lines" in check_refused(long, 400, "invalid_field")


def test_what_changes_much_takes_leave_to_change_so_much(desk: Office) -> None:
    """Everything on it is missing in these books."""
    shown = desk.preview(bill())
    (objection,) = shown["refused"]
    assert objection["allow_change"] == 100
    refused = desk.reconcile(bill(), confirm=shown["preview"])
    assert "(if it is right: allow_change 100)" in check_refused(refused, 409, "conflict")


def test_csv_has_every_row_of_a_comparison(desk: Office) -> None:
    lines = HEAD + "".join(f"up-{each},2026-11-25,0.01\n" for each in range(1_001))
    shown = desk.preview(lines)
    assert (len(shown["rows"]), shown["more_rows"]) == (1_000, 1)
    with desk.served.client("root-0123456789abcdef") as client:
        answer = client.post(
            f"/admin/v1/ledger/reconcile?period={MONTH}&separator=semicolon",
            content=lines,
            headers={"accept": "text/csv"},
        )
    assert len(answer.text.splitlines()) == 1 + 1_001
    assert answer.text.startswith("what;at;request_id;")


def test_the_parameters_are_the_options_of_the_command() -> None:
    of_output = {"csv", "json", "config", "csv-separator", "csv-decimal", "csv-bom", "csv-raw"}
    options = {name for each in reconcile.params for name in each.opts}
    options = {name.removeprefix("--") for name in options} - of_output
    of_http = {"separator", "decimal", "bom", "raw"}
    parameters = {name.replace("_", "-") for name in ReconcileQuery.model_fields} - of_http
    # The file is the body, and without `confirm` nothing is booked.
    assert options - {"statement", "dry-run"} == parameters


@pytest.mark.parametrize(
    ("path", "document", "status", "told"),
    [
        ("/ledger/closings", {"period": "2099-01"}, 409, "the month is not over"),
        ("/ledger/closings", {"period": "2026-13"}, 400, "period takes a month"),
        ("/ledger/closings", {}, 400, "Give period"),
        ("/ledger/batches/bat_0/undo", {}, 404, "there is no batch bat_0"),
    ],
)
def test_what_can_not_be_closed_or_undone_is_refused(
    desk: Office, path: str, document: dict[str, str], status: int, told: str
) -> None:
    code = {409: "conflict", 404: "not_found"}.get(status)
    code = code or ("invalid_field" if document else "missing_field")
    assert told in check_refused(desk.root.ask("POST", path, json=document), status, code)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"format": "xls"}, "'csv', 'json', 'focus' or 'chargeback'"),
        ({"format": "focus", "separator": "tab"}, "The format focus is fixed"),
        ({"format": "chargeback", "from": "2026-11-02"}, "is of whole months"),
        ({"period": MONTH, "to": "2026-11-02"}, "Give period, or from and to"),
    ],
)
def test_a_wrong_export_is_refused(desk: Office, query: dict[str, str], told: str) -> None:
    answer = desk.root.ask("GET", "/ledger/export", params=query)
    assert told in check_refused(answer, 400, "invalid_field")


def test_the_gateway_answers_while_a_statement_is_read_and_compared(office: Office) -> None:
    lines = HEAD + "".join(f"up-{each},2026-11-25,0.01\n" for each in range(8_000))
    shown: list[Any] = []
    working = threading.Thread(target=lambda: shown.append(office.preview(lines)))
    working.start()
    answered = 0
    with office.served.client() as client:
        while working.is_alive():
            assert client.get("/healthz").status_code == 200
            answered += 1
    working.join()
    assert shown[0]["missing"] == 8_000
    assert answered > 10
