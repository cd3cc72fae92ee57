"""Books: a statement is previewed, booked and taken back; estimates, closings and exports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.runtime.backends import open_database
from tests.api.admin.api_client import ROOT_TOKEN, Api
from tests.api.admin.test_books import BILL, HEAD, MONTH, bill
from tests.console.browsing import Browsing
from tests.console.visiting import Visiting, console_settings, signed_in
from tests.ledger.tables.test_close_month import DECEMBER_MS
from tests.support.funds import CALLER, CENT, Till, caller
from tests.support.serving import Running, SteppedClock, serving

PATH = "/console/books"
CALLS = 20


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """Twenty calls of a dollar each, in a month that is over, and one that is an estimate."""
    settings = console_settings(tmp_path_factory.mktemp("books"), emulator_server)

    async def fill() -> None:
        database = open_database(settings.state)
        till = await Till(database).open(callers=(CALLER, caller("press", "k9")))
        for number in range(CALLS):
            await till.reserve(f"c{number}", 100 * CENT, upstream="deepshi")
            await till.settle(f"c{number}", 100 * CENT)
        await till.reserve("guess", 50 * CENT, upstream="other")
        await till.settle("guess", None)
        await database.close()

    clock = SteppedClock()
    clock.step((DECEMBER_MS - now_ms()) / 1000)
    with serving(settings, clock) as running:
        asyncio.run(fill())
        yield running


@pytest.fixture
def root(served: Running) -> Api:
    return Api(served)


def spent(root: Api) -> str:
    return str(root.get("/ledger/verify")["spent_usd"])


def uploaded(visiting: Visiting, statement: str, **fields: str) -> httpx.Response:
    visiting.open(PATH)
    data = {"csrf": visiting.csrf, "period": MONTH, "edge": "0", **fields}
    files = {"statement": ("bill.csv", statement, "text/csv")}
    return visiting.post(f"{PATH}/reconcile", data=data, files=files)


def hidden(page: httpx.Response) -> dict[str, str]:
    """What the page's form of confirmation sends."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    return found | dict(re.findall(r'<textarea name="(\w+)" hidden[^>]*>([^<]*)<', page.text))


def test_a_statement_is_previewed_booked_and_taken_back(served: Running, root: Api) -> None:
    with signed_in(served) as visiting:
        before = spent(root)
        preview = uploaded(visiting, BILL)
        assert (preview.status_code, spent(root)) == (200, before), "a preview books nothing"
        form = {name: (None, text) for name, text in hidden(preview).items()}
        bad = {**form, "reason": (None, "long " * 50)}
        preview = visiting.post(f"{PATH}/reconcile", files=bad)
        assert (preview.status_code, spent(root)) == (400, before), "what is wrong books nothing"
        assert 'id="h-reason" role="alert"' in preview.text
        assert "long long" in preview.text
        form = {name: (None, text) for name, text in hidden(preview).items()}
        booked = visiting.post(f"{PATH}/reconcile", files={**form, "reason": (None, "bill 4711")})
        after = spent(root)
        page = visiting.open(booked.headers["location"]).text
        batch = re.search(r"as batch (\w+)\.", page)
        assert batch
        asked = visiting.submit(f"{PATH}/undo", id=batch[1])
        long = visiting.submit(f"{PATH}/undo", id=batch[1], confirm="1", reason="long " * 50)
        assert spent(root) == after, "undoing is asked for twice"
        visiting.submit(f"{PATH}/undo", id=batch[1], confirm="1", reason="the wrong bill")

    assert "req-c3" in preview.text
    assert "−$0.10" in preview.text
    assert float(before) - float(after) == pytest.approx(0.1)
    assert "Take back what was booked" in asked.text
    assert "Take back what was booked" in long.text
    assert "long long" in long.text
    assert (long.status_code, 'id="h-reason" role="alert"' in long.text) == (400, True)
    assert spent(root) == before
    (undone, booking) = root.get("/ledger/batches")["data"][:2]
    assert (booking["reason"], undone["reason"]) == ("bill 4711", "the wrong bill")


@pytest.mark.parametrize(
    ("statement", "fields", "field", "said"),
    [
        ("", {}, "statement", "Choose the upstream"),
        ("time;amount\n1;2\n", {}, "statement", "The statement"),
        (BILL, {"period": "November"}, "period", "period"),
        (BILL, {"title_lines": "many"}, "title_lines", "title_lines"),
        (BILL, {"column": "cost=<b>none</b>"}, "statement", "&lt;b&gt;none"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_the_rest_is_kept(
    served: Running, statement: str, fields: dict[str, str], field: str, said: str
) -> None:
    with signed_in(served) as visiting:
        answer = uploaded(visiting, statement, **{"edge": "90m", **fields})

    assert answer.status_code == 400
    beside = re.search(rf'id="h-{field}" role="alert">([^<]*)<', answer.text)
    assert beside, answer.text
    assert said in beside[1]
    assert 'value="90m"' in answer.text


def test_a_statement_that_changes_too_much_is_booked_only_if_allowed(
    served: Running, root: Api
) -> None:
    with signed_in(served) as visiting:
        preview = uploaded(visiting, bill(lambda _: "0.10"))
        form = {name: (None, text) for name, text in hidden(preview).items()}
        refused = visiting.post(f"{PATH}/reconcile", files=form)

    assert "This is not booked" in preview.text
    assert 'name="allow_change"' in preview.text
    assert refused.status_code in (400, 409)


def test_another_statement_is_not_what_was_confirmed(served: Running, root: Api) -> None:
    with signed_in(served) as visiting:
        before, preview = spent(root), uploaded(visiting, BILL)
        other = uploaded(visiting, bill(), confirm=hidden(preview)["confirm"])

    assert (other.status_code, spent(root)) == (409, before)
    assert "is another by now" in other.text


def test_an_estimate_is_corrected(served: Running, root: Api) -> None:
    with signed_in(served) as visiting:
        text = visiting.open(PATH).text
        wrong = visiting.submit(f"{PATH}/correct", request_id="req-guess", cost_usd="cheap")
        visiting.submit(f"{PATH}/correct", request_id="req-guess", cost_usd="0.30")
        after = visiting.get(PATH).text

    assert "req-guess" in text
    assert wrong.status_code == 400
    assert 'value="cheap"' in wrong.text
    assert "Every call&#39;s cost is known." in after or "Every call's cost is known." in after


def test_a_month_is_exported_as_focus_and_csv(served: Running) -> None:
    with signed_in(served) as visiting:
        csv = visiting.get(f"{PATH}/export.file", params={"period": MONTH, "format": "csv"})
        focus = visiting.get(f"{PATH}/export.file", params={"period": MONTH, "format": "focus"})
        wrong = visiting.get(f"{PATH}/export.file", params={"period": "soon"})

    assert csv.headers["content-disposition"].startswith('attachment; filename="csv-2026-11-01')
    assert csv.headers["x-content-type-options"] == "nosniff"
    assert csv.text.count("\n") > CALLS
    assert "BilledCost" in focus.text.splitlines()[0]
    assert (wrong.status_code, 'id="h-export-period" role="alert"' in wrong.text) == (400, True)


def test_a_file_that_is_too_large_is_refused(served: Running) -> None:
    with signed_in(served) as visiting:
        answer = uploaded(visiting, HEAD + "x" * (33 * 2**20))

    assert answer.status_code == 413
    assert "A statement has at most" in answer.text


@pytest.mark.parametrize("packed", ["", "no base64", "eJw=", "AAAA"])
def test_a_packed_statement_that_is_none_is_refused(served: Running, packed: str) -> None:
    with signed_in(served) as visiting:
        visiting.open(PATH)
        answer = visiting.submit(f"{PATH}/reconcile", packed=packed, confirm="x")

    assert answer.status_code == 400
    assert "statement" in answer.text


def test_only_finance_and_admins_see_the_books(served: Running, root: Api) -> None:
    token = root.post("/tokens", name="lead", role="team:design")["secret"]
    with signed_in(served, token) as lead:
        for path, fields in (("close", {"period": MONTH}), ("undo", {"id": "bat_1"})):
            assert lead.submit(f"{PATH}/{path}", **fields).status_code == 403
        statuses = [lead.get(f"{PATH}{each}").status_code for each in ("", "/export.file")]

    assert statuses == [403, 403]


def test_in_a_browser_the_preview_carries_the_statement(browse: Browsing, root: Api) -> None:
    page = browse(PATH, ROOT_TOKEN)
    page.set_input_files(
        "#f-statement", {"name": "bill.csv", "mimeType": "text/csv", "buffer": BILL.encode()}
    )
    page.fill("#f-period", MONTH)
    page.get_by_text("How the file is written").click()
    page.fill("#f-edge", "0")
    page.get_by_role("button", name="Preview").click()

    assert page.locator("h1").text_content() == "Preview"
    page.fill("#f-reason", "by hand")
    page.get_by_role("button", name="Book 1 row").click()
    page.wait_for_url("**/console/books?booked=*")
    assert root.get("/ledger/batches")["data"][0]["reason"] == "by hand"


def test_closing_a_month(served: Running, root: Api) -> None:
    """The last test: nothing more is booked in the month."""
    with signed_in(served) as visiting:
        visiting.open(PATH)
        early = visiting.submit(f"{PATH}/close", period="2099-01", reason="too early")
        visiting.submit(f"{PATH}/close", period=MONTH, force_with_estimates="1", reason="done")
        text = visiting.get(PATH).text

    assert early.status_code == 409
    assert "2099-01 is not closed" in early.text
    assert 'value="too early"' in early.text
    assert "Closed through 30 Nov 2026" in text
    assert [each["period"] for each in root.get("/ledger/closings")["data"]] == [MONTH]
