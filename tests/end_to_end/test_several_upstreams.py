"""Several upstreams: who serves, what is tried next, and that nothing is bought twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.ledger.tables import reports, verify
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.model.money import usd
from gateway.pricing.rules.image_tokens import USUAL
from gateway.runtime.backends import open_prices
from gateway.settings import Settings, load
from tests.support.exposition import scrape, total
from tests.support.receiver import receiving
from tests.support.serving import Overrides, Running, in_state, make_key, serving
from tests.support.streams import stream
from tests.support.waiting import until
from tests.upstream.test_limiter import degraded

MODEL = "gpt-image-1"
TARGETS = [f"openai/{MODEL}", "azure/img-prod"]
LOW = {"quality": "low", "size": "1024x1024"}
NOWHERE: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture(scope="module")
def emulators() -> Iterator[tuple[EmulatorServer, EmulatorServer]]:
    with (
        EmulatorServer(EmulatorSettings(api="openai")) as openai,
        EmulatorServer(EmulatorSettings(api="azure")) as azure,
    ):
        yield openai, azure


@pytest.fixture
def openai(emulators: tuple[EmulatorServer, EmulatorServer]) -> EmulatorServer:
    emulators[0].reset()
    return emulators[0]


@pytest.fixture
def azure(emulators: tuple[EmulatorServer, EmulatorServer]) -> EmulatorServer:
    emulators[1].reset()
    return emulators[1]


def settings_of(
    folder: Path,
    openai: EmulatorServer,
    azure: EmulatorServer,
    *,
    model: Mapping[str, object] | None = None,
    of_azure: Mapping[str, object] | None = None,
    hook: str = "",
    prices: Mapping[str, object] | None = None,
    **of_openai: Any,
) -> Settings:
    """Two upstreams of one model; `of_openai` are settings of the first."""
    common = {"first_call_alone": False, "max_attempts": 1}
    upstreams = {
        "openai": {"base_url": openai.base_url, "api_key": openai.api_key, **common, **of_openai},
        "azure": {
            "api": "azure",
            "base_url": azure.base_url,
            "api_key": azure.api_key,
            "models": ["img-prod", "img-mini"],
            **common,
            **(of_azure or {}),
        },
    }
    tables: Overrides = {
        "server": {"port": 0, "timezone": "UTC"},
        "upstreams": upstreams,
        "models": {MODEL: {"targets": TARGETS, **(model or {})}},
        "prices": prices or {},
        "cache": {"url": f"disk:{folder / 'cache'}"},
        "state": {"url": f"sqlite:{folder / 'gateway.db'}"},
        "warnings": {"webhook_url": hook},
    }
    settings = load(Path("/dev/null"), environment={}, overrides=tables)
    make_key(settings)
    return settings


def edit(gateway: Running, prompt: str = "make it grey", **fields: Any) -> Any:
    return gateway.edit(prompt, **{"model": MODEL, **LOW, **fields})


def rows_of(settings: Settings) -> list[LedgerRow]:
    return in_state(settings, lambda tx: reports.ledger_rows(tx, "2000-01-01", "9999-12-31"))


def billed(*emulators: EmulatorServer) -> list[int]:
    return [emulator.stats()["billed_calls"] for emulator in emulators]


# --- fallback -------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [{"status": 429}, {"status": 503}, {"status": 401}])
def test_the_next_target_serves_where_the_first_bought_nothing(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer, knobs: dict[str, object]
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order(knobs)
    with serving(settings) as gateway:
        served = edit(gateway)
        shown = scrape(gateway)
    assert (served.status_code, served.headers["x-gateway-upstream"]) == (200, "azure")
    assert billed(openai, azure) == [0, 1]
    at = {
        row.upstream: (row.model, row.upstream_model, row.cost_nanos) for row in rows_of(settings)
    }
    assert at == {
        "openai": (MODEL, "", 0),
        "azure": (MODEL, "img-prod", azure.stats()["billed_nanos"]),
    }
    assert total(shown, "gateway_upstream_fallbacks_total", upstream="openai") == 1
    assert in_state(settings, verify.verify).differences == ()


def test_an_upstream_that_can_not_be_reached_costs_nothing_and_the_next_one_serves(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure, circuit_failures=1, **NOWHERE)
    with serving(settings) as gateway:
        assert [edit(gateway, prompt).status_code for prompt in ("one", "two")] == [200, 200]
        again = edit(gateway, "two")
        assert "upstream openai: circuit open (upstream_unreachable)" in degraded(gateway)
    assert again.headers["x-gateway-cache"] == "HIT"  # of the next target, while the first is down
    assert {row.upstream for row in rows_of(settings)} == {"azure"}
    assert billed(azure) == [2]


@pytest.mark.parametrize("knobs", [{"status": 500}, {"reset_after_read": True}])
def test_no_other_target_is_tried_after_a_failure_that_may_have_been_charged(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer, knobs: dict[str, object]
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order(knobs)
    with serving(settings) as gateway:
        failed, again = edit(gateway), edit(gateway)
    assert [answer.json()["error"]["code"] for answer in (failed, again)] == ["upstream_failed"] * 2
    assert failed.headers["x-gateway-upstream"] == "openai"
    assert openai.stats()["calls"] == 1
    assert azure.stats()["calls"] == 0


def test_a_refused_edit_is_not_asked_for_elsewhere(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order({"status": 400})
    with serving(settings) as gateway:
        assert edit(gateway).json()["error"]["message"]
    assert azure.stats()["calls"] == 0


def test_a_failure_that_is_remembered_at_any_target_answers_the_edit(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order({"status": 503})
    azure.order({"reset_after_read": True})
    with serving(settings) as one, serving(settings) as other:
        codes = [edit(gateway).json()["error"]["code"] for gateway in (one, one, other)]
    assert codes == ["upstream_failed"] * 3
    assert (openai.stats()["calls"], azure.stats()["calls"]) == (1, 1)


def test_where_every_target_is_busy_the_client_is_told_to_try_again(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order({"status": 503})
    azure.order({"status": 429})
    with serving(settings) as gateway:
        answer = edit(gateway)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "upstream_busy")
    assert answer.headers["x-should-retry"] == "true"


def test_an_upstream_that_goes_down_and_answers_again_is_an_alert(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    with receiving() as receiver:
        settings = settings_of(
            tmp_path, openai, azure, hook=receiver.url, circuit_failures=1, circuit_seconds=0.8
        )
        openai.order({"status": 500})
        with serving(settings) as gateway:
            assert edit(gateway).status_code == 502
            assert edit(gateway, "two").headers["x-gateway-upstream"] == "azure"
            receiver.wait_for(1)
            until(lambda: edit(gateway, "three").headers["x-gateway-upstream"] == "openai", 10)
            down, up = receiver.wait_for(2)
            shown = scrape(gateway)
    assert down.message["event"] == "upstream.down"
    assert down.message["text"].startswith("The upstream openai is down since ")
    ceiling = open_prices(settings).of("azure", MODEL, USUAL, "2026-11-29").nanos
    moved = {"model": MODEL, "usual": TARGETS[0], "instead": TARGETS[1],
             "usual_ceiling_usd": usd(ceiling), "instead_ceiling_usd": usd(ceiling)}  # fmt: skip
    assert down.message["traffic"] == up.message["traffic"] == [moved]
    assert (up.message["event"], up.message["since"]) == ("upstream.up", down.message["since"])
    assert total(shown, "gateway_alerts_total", result="raised") == 2


def test_an_outage_ends_with_the_first_answer_after_a_restart(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    with receiving() as receiver:
        settings = settings_of(tmp_path, openai, azure, hook=receiver.url, circuit_failures=1)
        openai.order({"status": 500})
        with serving(settings) as gateway:
            edit(gateway)
            receiver.wait_for(1)
        with serving(settings) as gateway:
            edit(gateway, "another")
            events = [post.message["event"] for post in receiver.wait_for(2)]
    assert events == ["upstream.down", "upstream.up"]


def test_a_target_that_can_not_take_the_edit_is_skipped(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(
        tmp_path,
        openai,
        azure,
        model={"targets": TARGETS[::-1]},
        of_azure={"picture_formats": ["png"]},
    )
    with serving(settings) as gateway:
        served, refused = edit(gateway), edit(gateway, model="img-mini")
    assert served.headers["x-gateway-upstream"] == "openai"
    assert refused.json()["error"]["code"] == "invalid_image"
    assert "does not take JPEG. Send PNG" in refused.json()["error"]["message"]
    assert azure.stats()["calls"] == 0


def test_a_stream_names_the_target_that_it_is_from(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order({"status": 503})
    with serving(settings) as gateway:
        streamed = stream(gateway, model=MODEL, quality="low")
        (row,) = [row for row in rows_of(settings) if row.upstream == "azure"]
    assert streamed.completed["b64_json"]
    assert streamed.headers["x-gateway-upstream"] == "azure"
    assert f'key="{row.fingerprint}"' in streamed.headers["cache-status"]


# --- results of several targets -------------------------------------------------------


@pytest.mark.parametrize(("equivalent", "bought"), [(True, [0, 1]), (False, [1, 1])])
def test_a_result_of_any_target_is_a_hit_for_all_only_where_they_are_equivalent(
    tmp_path: Path,
    openai: EmulatorServer,
    azure: EmulatorServer,
    equivalent: bool,
    bought: list[int],
) -> None:
    settings = settings_of(tmp_path, openai, azure, model={"equivalent": equivalent})
    openai.order({"status": 503})
    with serving(settings) as gateway:
        first, second = edit(gateway), edit(gateway)
    assert first.headers["x-gateway-upstream"] == "azure"
    assert second.headers["x-gateway-upstream"] == ("azure" if equivalent else "openai")
    assert second.headers["x-gateway-cache"] == ("HIT" if equivalent else "MISS")
    assert billed(openai, azure) == bought


def test_a_flight_at_an_equivalent_target_is_joined_from_another_process(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    """At whichever target: between its two calls the leader holds no lease."""
    settings = settings_of(tmp_path, openai, azure, model={"equivalent": True})
    azure.order(always={"latency_seconds": 1.0})
    with serving(settings) as other, ThreadPoolExecutor(2) as pool:
        openai.order({"status": 503})
        leading = pool.submit(edit, other)
        with serving(settings) as one:
            following = pool.submit(edit, one)
            answers = [leading.result(), following.result()]
    assert len({answer.headers["x-gateway-upstream"] for answer in answers}) == 1
    assert sum(billed(openai, azure)) == 1


def test_followers_move_along_to_the_next_target(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure)
    openai.order(always={"status": 503, "latency_seconds": 0.5})
    with serving(settings) as gateway, ThreadPoolExecutor(4) as pool:
        answers = [each.result() for each in [pool.submit(edit, gateway) for _ in range(4)]]
    assert {answer.headers["x-gateway-upstream"] for answer in answers} == {"azure"}
    assert (openai.stats()["calls"], billed(azure)) == (1, [1])


# --- names ----------------------------------------------------------------------------


def test_models_of_all_upstreams_are_listed_with_the_one_that_serves_each(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    settings = settings_of(tmp_path, openai, azure, model={"aliases": ["default-image"]})
    make_key(settings, secret="sk-narrow-0123456789", name="narrow",
             key_terms={"models": ["default-image"]})  # fmt: skip
    with serving(settings) as gateway:
        with gateway.client() as client:
            every = {item["id"]: item for item in client.get("/v1/models").json()["data"]}
        with gateway.client("sk-narrow-0123456789") as client:
            narrow = client.get("/v1/models").json()["data"]
        by_alias = edit(gateway, model="default-image", key="sk-narrow-0123456789")
        by_name = edit(gateway, key="sk-narrow-0123456789")
        hit = edit(gateway)
    upstreams = {name: item["upstream"] for name, item in every.items()}
    assert upstreams[MODEL] == upstreams["default-image"] == upstreams["dall-e-2"] == "openai"
    assert upstreams["img-mini"] == "azure"
    assert every[MODEL]["edit"]["supported"] is True
    assert every["default-image"]["pricing"]["usd_per_million_tokens"]["image_out"] == "40.00"
    assert [item["id"] for item in narrow] == ["default-image"]
    assert (by_alias.status_code, by_name.json()["error"]["code"]) == (200, "model_not_allowed")
    assert hit.headers["x-gateway-cache"] == "HIT"  # aliases are resolved in the fingerprint
    (row,) = rows_of(settings)
    assert (row.model, row.asked_model) == (MODEL, "default-image")


# --- the bill -------------------------------------------------------------------------


def test_the_ledger_is_the_sum_of_both_bills(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    check_bills(tmp_path, openai, azure, edits=40)


@pytest.mark.long
def test_the_ledger_is_the_sum_of_both_bills_of_2000_edits(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    check_bills(tmp_path, openai, azure, edits=2_000)


def test_a_discount_of_a_target_is_in_what_is_reserved_and_booked_there(
    tmp_path: Path, openai: EmulatorServer, azure: EmulatorServer
) -> None:
    discount = {"targets": {TARGETS[1]: {"discount_percent": "12.5"}}}
    settings = settings_of(tmp_path, openai, azure, prices=discount)
    openai.order({}, {"status": 503})
    with serving(settings) as gateway:
        full, less = edit(gateway, "one"), edit(gateway, "two")
    assert [each.headers["x-gateway-upstream"] for each in (full, less)] == ["openai", "azure"]
    assert spent_by(settings, "upstream") == {
        "openai": openai.stats()["billed_nanos"],
        "azure": azure.stats()["billed_nanos"] * 7 // 8,
    }
    assert all("+" in row.price_version for row in rows_of(settings) if row.cost_nanos)


def spent_by(settings: Settings, group: str) -> dict[str, int]:
    lines = in_state(settings, lambda tx: reports.usage_by(tx, group, "2000-01-01", "9999-12-31"))
    return {line.group: line.spent_nanos for line in lines if line.spent_nanos}


def check_bills(folder: Path, openai: EmulatorServer, azure: EmulatorServer, *, edits: int) -> None:
    """Edits of mixed quality and size, with a first target that fails at random."""
    settings = settings_of(folder, openai, azure, circuit_failures=3, circuit_seconds=0.2)
    rng = random.Random(14)
    faults = [{"status": 429, "retry_after": 0}, {"status": 503}, {"status": 401}]
    openai.order(*(rng.choice([*faults, {}, {}, {}]) for _ in range(edits)))
    asked = [
        {
            "prompt": f"make it grey, {number}",
            "quality": rng.choice(("low", "medium", "high", "auto")),
            "size": rng.choice(("1024x1024", "1536x1024", "auto")),
            "output_format": "jpeg",  # is soon encoded
        }
        for number in range(edits)
    ]
    with serving(settings) as gateway, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda fields: edit(gateway, **fields), asked))
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-gateway-upstream"] for answer in answers)
    assert min(served["openai"], served["azure"]) > edits / 10

    charges = [*openai.statement(), *azure.statement()]
    assert len({charge["client_request_id"] for charge in charges}) == len(charges) == edits
    assert spent_by(settings, "upstream") == {
        "openai": openai.stats()["billed_nanos"],
        "azure": azure.stats()["billed_nanos"],
    }
    assert spent_by(settings, "cost_kind").keys() == {"computed"}
    assert in_state(settings, verify.verify).differences == ()
