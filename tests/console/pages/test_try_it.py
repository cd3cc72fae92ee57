"""Try it: an edit from the browser is paid, limited and recorded like one from code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.emulator import SAMPLE_PHOTOGRAPH
from tests.api.admin.api_client import ROOT_TOKEN, Api, in_force
from tests.console.browsing import NARROW, Browsing, overflow
from tests.console.conftest import OTHER_KEY
from tests.console.visiting import Visiting, signed_in
from tests.support.serving import KEY, PHOTOGRAPH, Running

PATH = "/console/try"


@contextmanager
def opened(served: Running, secret: str) -> Iterator[Visiting]:
    with signed_in(served, secret) as visiting:
        visiting.open(PATH)
        yield visiting


def sent(
    visiting: Visiting, path: str = PATH, prompt: str = "grey", **fields: str
) -> httpx.Response:
    """The form with a photograph, in the order of the page."""
    data = {"csrf": visiting.csrf, "model": "deepshi-image-1", "prompt": prompt, **fields}
    return visiting.post(path, data=data, files=[("image[]", ("photo.jpg", PHOTOGRAPH))])


def picture_of(page: httpx.Response) -> str:
    address: str = re.findall(r'<img src="(/console/files/[^"]+)"', page.text)[0]
    return address.replace("&amp;", "&")


def team_token(root: Api, name: str, team: str = "photos") -> str:
    return str(root.post("/tokens", name=name, role=f"team:{team}")["secret"])


def test_a_key_pays_for_what_it_tries(served: Running, root: Api) -> None:
    with opened(served, OTHER_KEY) as visiting:
        quote = sent(visiting, f"{PATH}/quote", "tried by a key")
        bought = sent(visiting, prompt="tried by a key")
        again = sent(visiting, f"{PATH}/quote", "tried by a key")
        picture = visiting.get(picture_of(bought))

    assert "Would be bought for at most $0.01" in quote.text
    assert "MISS</strong> · cost $0.01" in bought.text
    assert "Would be a hit: nothing to pay, $0.01 saved" in again.text
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["content-security-policy"] == "sandbox; default-src 'none'"
    request_id = re.findall(r"req_\w+", bought.text)[0]
    with served.client(OTHER_KEY) as client:
        assert client.get(f"/v1/requests/{request_id}").json()["cost_usd"] == "0.01"


def test_the_address_of_a_picture_is_of_one_session(served: Running) -> None:
    with opened(served, OTHER_KEY) as visiting:
        address = picture_of(sent(visiting, prompt="blue"))
        forged = address.replace("proof=", "proof=0")
        assert visiting.get(forged).status_code == 403
    with signed_in(served, KEY) as other, Visiting(served) as nobody:
        assert other.get(address).status_code == 403
        assert nobody.get(address).status_code == 303


def test_a_person_pays_by_the_teams_key_which_is_made_once(served: Running, root: Api) -> None:
    with opened(served, team_token(root, "ann")) as visiting:
        first, second = (sent(visiting, prompt=f"ann {number}") for number in (1, 2))

    assert (first.status_code, second.status_code) == (200, 200)
    keys = [key for key in root.get("/keys", team="photos")["data"] if key["name"] == "console"]
    assert len(keys) == 1
    in_force(lambda: len(_rows(root, keys[0]["id"])) == 2)
    assert {row["end_user"] for row in _rows(root, keys[0]["id"])} != {""}
    changes = [c for c in root.every("/audit") if c["action"] == "key.create"]
    assert [c["subject"] for c in changes if c["actor"] == "token:ann"] == [f"key:{keys[0]['id']}"]


def _rows(root: Api, key_id: str) -> list[Any]:
    rows = root.get("/ledger", team="photos", limit="1000")["data"]
    return [row for row in rows if row["key"] == key_id]


def test_a_revoked_console_key_buys_nothing_more(served: Running, root: Api) -> None:
    made = root.post("/teams", name="closed", unlimited=True)
    key = root.post("/keys", team=made["name"], name="console")
    root.delete(f"/keys/{key['id']}")
    in_force(lambda: served.app.parts.authenticator.key_named("closed", "console") is None)
    with opened(served, team_token(root, "bob", "closed")) as visiting:
        answer = sent(visiting, prompt="bob")

    assert answer.status_code == 403
    assert "The key closed/console paid for edits made here, and is revoked" in answer.text


def test_a_sandbox_key_is_answered_by_the_sandbox_and_pays_nothing(
    served: Running, root: Api
) -> None:
    key = root.post("/keys", team="photos", name="play", sandbox=True)
    in_force(lambda: served.app.parts.authenticator.key_named("photos", "play") is not None)
    rows = len(root.get("/ledger", team="photos", limit="1000")["data"])
    with opened(served, key["secret"]) as visiting:
        shown = visiting.get(PATH).text
        quote, page = sent(visiting, f"{PATH}/quote", "played"), sent(visiting, prompt="played")
        picture, raw = visiting.get(picture_of(page)), sent(visiting, f"{PATH}/edits", "played")
    with served.client(key["secret"]) as client:
        known = client.get(f"/v1/requests/{raw.headers['x-request-id']}")

    assert "Answered by the sandbox for photos/play" in shown
    assert "Would be bought" in quote.text
    assert picture.headers["content-type"] == "image/png"
    assert (raw.headers["x-gateway-sandbox"], raw.headers["x-gateway-cache"]) == ("true", "HIT")
    assert (known.status_code, known.headers["x-gateway-sandbox"]) == (200, "true")
    assert len(root.get("/ledger", team="photos", limit="1000")["data"]) == rows


def test_a_person_can_charge_no_other_team(served: Running, root: Api) -> None:
    with opened(served, team_token(root, "cas")) as visiting:
        answer = sent(visiting, prompt="cas", team="design")

    assert "MISS</strong> · cost $0.01" in answer.text
    assert [key["name"] for key in root.get("/keys", team="design")["data"]] == ["first"]


def test_a_spent_budget_refuses_and_nothing_typed_is_lost(served: Running) -> None:
    prompt = 'new "><script>alert(1)</script>'
    with opened(served, KEY) as visiting:
        page = sent(visiting, prompt=prompt)
        raw = sent(visiting, f"{PATH}/edits", prompt)

    assert page.status_code == 429
    assert "budget" in page.text
    assert "new &#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;</textarea>" in page.text
    assert "<script>alert" not in page.text
    assert raw.json()["error"]["code"] == "insufficient_quota"


def test_a_file_that_is_no_picture_is_named_beside_its_field(served: Running) -> None:
    with opened(served, OTHER_KEY) as visiting:
        data = {"csrf": visiting.csrf, "model": "deepshi-image-1", "prompt": "grey"}
        page = visiting.post(PATH, data=data, files=[("image[]", ("<b>.svg", b"<svg/>" * 20))])

    assert page.status_code == 400
    assert re.search(r'class="error" role="alert">[^<]*not an accepted picture', page.text)


def test_a_form_without_its_token_buys_nothing(served: Running) -> None:
    with opened(served, OTHER_KEY) as visiting:
        for path in (PATH, f"{PATH}/quote", f"{PATH}/edits"):
            assert sent(visiting, path, csrf="0" * 64).status_code == 403
            assert visiting.post(path, files=[("image[]", PHOTOGRAPH)]).status_code == 403
            assert visiting.post(path, content=PHOTOGRAPH).status_code == 403


def test_the_script_gets_the_events_of_a_stream(served: Running) -> None:
    with opened(served, OTHER_KEY) as visiting:
        answer = sent(visiting, f"{PATH}/edits", "streamed", stream="true", partial_images="1")

    assert answer.headers["content-type"] == "text/event-stream"
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if line[:6] == "data: "]
    assert [event["type"].rpartition(".")[2] for event in events] == ["partial_image", "completed"]


def test_the_page_quotes_runs_and_compares(browse: Browsing, tmp_path: Path) -> None:
    photograph = tmp_path / "it's <i>.jpg"
    photograph.write_bytes(SAMPLE_PHOTOGRAPH.read_bytes())
    page = browse(PATH, OTHER_KEY, width=NARROW)
    page.fill("#f-prompt", "it's <b>grey</b>")
    page.set_input_files("#f-pictures", str(photograph))

    page.get_by_text("Would be bought for at most $0.01").wait_for()
    command = shlex.split(page.locator("#command").inner_text().replace("\\\n", ""))
    assert "prompt=it's <b>grey</b>" in command
    assert """image[]=@"it's <i>.jpg\"""" in command
    page.get_by_role("button", name="Run").click()
    page.locator("#result .compare").wait_for()
    assert "MISS · cost $0.01" in page.locator(".facts").inner_text()
    assert overflow(page) == 0


def test_an_administrator_chooses_the_team_that_pays(browse: Browsing) -> None:
    page = browse(PATH, ROOT_TOKEN)

    assert page.locator("#f-team option").all_text_contents()[-2:] == ["design", "photos"]
