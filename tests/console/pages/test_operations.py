"""Operations: its state, odd prices, people to sign out, settings and the audit."""

from __future__ import annotations

import pytest

from gateway.ledger.tables import price_status
from tests.api.admin.api_client import ROOT_TOKEN, Api, in_force
from tests.console.visiting import signed_in
from tests.support.serving import KEY, Running, in_state

PATH = "/console/operations"


def test_it_shows_the_upstream_the_cache_and_the_versions(served: Running) -> None:
    with signed_in(served) as visiting:
        text = visiting.get(PATH).text

    assert '<span class="tag up">closed</span>' in text
    assert "3 results, of" in text
    assert "sqlite:" in text
    assert ROOT_TOKEN not in text


def test_an_odd_price_is_confirmed_and_its_model_called_again(served: Running, root: Api) -> None:
    name = served.settings.upstream.name
    in_state(
        served.settings,
        lambda tx: price_status.stop(tx, name, "odd<b>", 7 * 10**9, 1, team="design"),
    )
    with signed_in(served) as visiting:
        before = visiting.open(PATH).text
        answer = visiting.submit(f"{PATH}/prices", upstream=name, model="odd<b>")
        after = visiting.get(PATH).text

    assert "odd&lt;b&gt;" in before
    assert '<span class="bad-text">$7.00</span>' in before
    assert answer.status_code == 303
    assert '<span class="bad-text">$7.00</span>' not in after
    assert '<td class="money">$7.00</td>' in after


def test_a_price_that_is_none_is_refused_beside_its_field(served: Running) -> None:
    with signed_in(served) as visiting:
        visiting.open(PATH)
        answer = visiting.submit(f"{PATH}/prices", model="my-model", price_usd="cheap")

    assert answer.status_code == 400
    assert 'id="h-price_usd" role="alert">price_usd takes an amount in dollars' in answer.text
    assert 'value="my-model"' in answer.text


def test_sign_out_now_ends_every_session_of_a_person(served: Running, root: Api) -> None:
    token = root.post("/tokens", name="gone", role="finance")["secret"]
    with signed_in(served, token) as one, signed_in(served, token) as two:
        with signed_in(served) as admin:
            assert "token:gone</td>" in admin.open(PATH).text
            admin.submit(f"{PATH}/sign-out", actor="token:gone")

            assert admin.get("/console").status_code == 200
        assert (one.get("/console").status_code, two.get("/console").status_code) == (303, 303)
    last = root.get("/audit", latest="true", limit="1")["data"][0]
    assert (last["actor"], last["action"], last["subject"], last["new"]) == (
        "root", "console.sign_out", "token:gone", {"sessions": 2},
    )  # fmt: skip


@pytest.mark.parametrize(("role", "status"), [("finance", 403), ("team:design", 403)])
def test_nobody_else_signs_people_out_or_confirms(
    served: Running, root: Api, role: str, status: int
) -> None:
    token = root.post("/tokens", name=f"{role} here", role=role)["secret"]
    with signed_in(served, token) as visiting:
        for path, fields in (("sign-out", {"actor": "root"}), ("prices", {"model": "m"})):
            assert visiting.submit(f"{PATH}/{path}", **fields).status_code == status
        assert "Sign out now" not in visiting.get(PATH).text


def test_the_audit_has_the_latest_first_and_is_narrowed(served: Running, root: Api) -> None:
    root.post("/teams", name="latest", budget_usd="3")
    root.patch("/teams/latest", budget_usd="4", reason="<i>more</i>")
    with signed_in(served) as visiting:
        every = visiting.get(f"{PATH}/audit").text
        about = visiting.get(f"{PATH}/audit?subject=team:latest").text

    assert every.index("team.update") < every.index("team.create")
    assert "<div>budget_usd: <s>3.00</s> 4.00</div>" in about
    assert "&lt;i&gt;more&lt;/i&gt;" in about
    assert "console.sign_in" not in about


def test_the_settings_in_force_have_no_secret(served: Running) -> None:
    with signed_in(served) as visiting:
        text = visiting.get(f"{PATH}/settings").text

    assert "<strong>base_url</strong>" in text
    assert "(secret)" in text
    for secret in (ROOT_TOKEN, KEY, served.settings.upstream.api_key[0].get_secret_value()):
        assert secret not in text


def test_keys_see_no_operations(served: Running) -> None:
    with signed_in(served, KEY) as visiting:
        in_force(lambda: visiting.get(PATH).status_code == 403)
