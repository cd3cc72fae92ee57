"""Pictures that an upstream gives as URLs, and links of the gateway to stored pictures."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.cache.rules.picture_link import DAY_SECONDS
from gateway.cache.tables import link_keys
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer, EmulatorSettings
from gateway.ledger.tables import reports, verify
from gateway.runtime.backends import open_results
from gateway.settings import Settings
from tests.support.crowds import crowd
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import (
    GatewayProcess,
    Running,
    Served,
    SteppedClock,
    in_state,
    make_key,
    serving,
    settings_for,
    tables_of,
)
from tests.support.streams import stream
from tests.support.upstreams import png, recording_upstream

__all__ = ["postgres_url"]

PUBLIC = "https://images.example/edits"
BY_URL = {"as_url": True}
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'


def overrides(emulator: EmulatorServer, **cache: Any) -> dict[str, dict[str, Any]]:
    return {
        "server": {"public_url": PUBLIC},
        "upstream": {"picture_hosts": [emulator.origin]},
        "cache": cache,
    }


@pytest.fixture(scope="module")
def linking(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer
) -> Iterator[Running]:
    """A gateway that makes links, and fetches from the emulator."""
    emulator_server.reset()
    folder = tmp_path_factory.mktemp("linking")
    settings = settings_for(folder, emulator_server, overrides(emulator_server))
    make_key(settings)
    with serving(settings) as gateway:
        yield gateway


def item(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"][0])


def word(answer: httpx.Response) -> str:
    return answer.headers["x-gateway-cache"]


def here(gateway: Served, url: str) -> str:
    """The link as this gateway gets it from the proxy at its public URL."""
    assert url.startswith(f"{PUBLIC}/v1/pictures/")
    return url.replace(PUBLIC, gateway.url)


def show(gateway: Served, url: str, **headers: str) -> httpx.Response:
    """Follow a link, without any key."""
    with gateway.client(None) as client:
        return client.get(here(gateway, url), headers=headers)


async def purge(settings: Settings) -> int:
    """As the command line does."""
    results = open_results(settings)
    try:
        return await results.purge(lambda _: True)
    finally:
        await results.close()


def link(gateway: Served, prompt: str, **fields: Any) -> str:
    return str(item(gateway.edit(prompt, response_format="url", **fields))["url"])


# --- bought once ----------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [{}, BY_URL])
def test_bytes_and_links_are_two_presentations_of_one_purchase(
    linking: Running, emulator: EmulatorServer, knobs: dict[str, object]
) -> None:
    emulator.order(always=knobs)
    prompt = f"presented {knobs}"
    first = linking.edit(prompt, response_format="url")
    second, third = linking.edit(prompt), linking.edit(prompt, response_format="b64_json")

    assert [word(each) for each in (first, second, third)] == ["MISS", "HIT", "HIT"]
    assert item(first).keys() == {"url", "index"}
    assert item(second).keys() == {"b64_json", "index"}
    shown = show(linking, item(first)["url"])
    assert shown.content == base64.b64decode(item(second)["b64_json"])
    assert second.json()["usage"]["cost"]["saved_cost"] == 0.01
    assert emulator.stats()["billed_calls"] == 1


def test_every_picture_of_an_answer_has_its_own_link(
    linking: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always=BY_URL)
    answer = linking.edit("four", model="deepshi-multi-1", n="4", response_format="url")
    again = linking.edit("four", model="deepshi-multi-1", n="4")

    urls = [each["url"] for each in answer.json()["data"]]
    pictures = [base64.b64decode(each["b64_json"]) for each in again.json()["data"]]
    assert [show(linking, url).content for url in urls] == pictures
    assert len(set(pictures)) == 4


def test_a_crowd_that_asks_in_both_forms_buys_once(
    linking: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 0.5, **BY_URL})
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(crowd, [linking.url], 4, prompt="in both forms", **fields)
            for fields in ({"response_format": "url"}, {"response_format": "b64_json"})
        ]
        linked, plain = (each.result() for each in asked)

    assert emulator.stats()["billed_calls"] == 1
    assert {word(each) for each in (*linked, *plain)} <= {"MISS", "COALESCED", "HIT"}
    (picture,) = {item(each)["b64_json"] for each in plain}
    assert {show(linking, item(each)["url"]).content for each in linked} == {
        base64.b64decode(picture)
    }


def test_a_stream_of_an_upstream_s_url_is_stored_and_ends_in_a_link_where_asked(
    linking: Running, emulator: EmulatorServer
) -> None:
    emulator.order(BY_URL)
    by_link = stream(linking, 1, prompt="streamed", response_format="url")
    plain = stream(linking, 1, prompt="streamed")

    assert by_link.kinds == ["partial", "completed"]
    assert "b64_json" not in by_link.completed
    shown = show(linking, by_link.completed["url"])
    assert shown.content == base64.b64decode(plain.completed["b64_json"])
    assert by_link.cost["total_cost"] == 0.01
    assert emulator.stats()["billed_calls"] == 1


def test_a_json_edit_with_a_link_is_the_same_edit(
    linking: Running, emulator: EmulatorServer
) -> None:
    document = {"model": "deepshi-image-1", "prompt": "in json", "size": "64x64"}
    picture = "data:image/png;base64," + base64.b64encode(png(8, 8)).decode()
    with linking.client() as client:
        answers = [
            client.post("/v1/images/edits", json={**document, "image": picture, **more})
            for more in ({"response_format": "url"}, {}, {"response_format": "b64_json"})
        ]

    assert [word(each) for each in answers] == ["MISS", "HIT", "HIT"]
    assert show(linking, item(answers[0])["url"]).status_code == 200


@pytest.mark.parametrize("api", ["openai", "xai"])
def test_apis_that_answer_by_url_are_asked_for_bytes_and_fetched_all_the_same(
    tmp_path: Path, api: str
) -> None:
    model = {"openai": "dall-e-2", "xai": "grok-imagine-image"}[api]
    with EmulatorServer(EmulatorSettings(api=api)) as upstream:
        own = {"api": api, "name": api, "picture_hosts": [upstream.origin]}
        settings = settings_for(
            tmp_path, upstream, {"server": {"public_url": PUBLIC}, "upstream": own}
        )
        make_key(settings)
        with serving(settings) as gateway:
            asked = gateway.edit("plainly", model=model, response_format="url")
            upstream.order(BY_URL)
            given = gateway.edit("by url", model=model, response_format="url")
            again = gateway.edit("by url", model=model)
        billed = upstream.stats()

    assert item(asked)["url"].startswith(PUBLIC)
    assert item(given)["url"].startswith(PUBLIC)
    assert word(again) == "HIT"
    assert billed["billed_calls"] == 2


# --- what can't be fetched, or linked ---------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "knobs", "reason"),
    [
        ([], BY_URL, "is not in picture_hosts"),
        (["localhost", "http://127.0.0.1:9"], BY_URL, "is not in picture_hosts"),
        (None, {**BY_URL, "file_status": 404}, "its host answered 404"),
    ],
)
def test_a_url_that_is_not_fetched_is_passed_on_unstored_and_the_log_says_why(
    tmp_path: Path,
    emulator: EmulatorServer,
    hosts: list[str] | None,
    knobs: dict[str, object],
    reason: str,
) -> None:
    more = overrides(emulator)
    more["upstream"]["picture_hosts"] = [emulator.origin] if hosts is None else hosts
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    emulator.order(knobs, knobs)
    with serving(settings) as gateway:
        first, second = (gateway.edit(response_format=form) for form in ("url", "b64_json"))
        logged = [json.loads(line) for line in gateway.log.getvalue().splitlines()]

    for answer in (first, second):
        assert item(answer)["url"].startswith(f"{emulator.origin}/emulator/files/")
        assert word(answer) == "MISS"
        assert "detail=url-results" in answer.headers["cache-status"]
        assert answer.headers["x-gateway-cost-usd"] == "0.01"
    reasons = [line["reason"] for line in logged if "URL is passed on" in line["event"]]
    assert len(reasons) == 2
    assert all(reason in each for each in reasons)
    assert "/emulator/files" not in gateway.log.getvalue()
    assert in_state(settings, verify.verify).differences == ()


def test_the_money_is_settled_before_the_picture_is_fetched(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """The picture's host is the gateway's own balance: what it shows while it is asked."""
    with recording_upstream() as upstream:
        settings = settings_for(tmp_path, emulator, overrides(emulator))
        settings = settings.model_copy(
            update={
                "upstream": settings.upstream.model_copy(
                    update={"base_url": upstream.url, "picture_hosts": (upstream.origin,)}
                )
            }
        )
        make_key(settings)

        async def spent(tx: Transaction) -> int:
            rows = await reports.ledger_rows(tx, "2000-01-01", "9999-12-31")
            return sum(row.cost_nanos for row in rows)

        upstream.by_url = True
        upstream.on_picture = lambda: booked.append(in_state(settings, spent))
        booked = list[int]()
        with serving(settings) as gateway:
            answer = gateway.edit()

    assert booked == [10_000_000]
    assert base64.b64decode(item(answer)["b64_json"]) == upstream.picture


def test_without_a_public_url_url_answers_are_the_upstream_s_and_another_edit(
    gateway: Running, emulator: EmulatorServer
) -> None:
    """Whatever `Host` says."""
    bytes_, by_url, again = (
        gateway.edit("unlinked", headers={"host": "evil.example"}, response_format=form)
        for form in ("", "url", "url")
    )

    assert [word(each) for each in (bytes_, by_url, again)] == ["MISS"] * 3
    assert item(by_url)["url"].startswith(f"{emulator.origin}/emulator/files/")
    assert emulator.stats()["billed_calls"] == 3
    with gateway.client(None) as client:
        name = f"v2-{'0' * 64}.0.{'0' * 32}.png"
        assert client.get(f"/v1/pictures/{name}?expires=9999999999&signature=").status_code == 403


def test_links_are_never_made_from_the_host_header(
    linking: Running, emulator: EmulatorServer
) -> None:
    forged = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    answer = linking.edit("forged", response_format="url", headers=forged)

    assert item(answer)["url"].startswith(f"{PUBLIC}/v1/pictures/")


def test_what_is_not_to_be_stored_is_not_linked(linking: Running, emulator: EmulatorServer) -> None:
    answers = [
        linking.edit("kept nowhere", response_format="url", headers={name: "no-store"})
        for name in ("x-gateway-cache-control", "cache-control")
    ]
    with linking.client() as client:
        answers.append(
            client.post(
                "/v1/images/generations",
                json={"model": "deepshi-image-1", "prompt": "made", "response_format": "url"},
            )
        )

    assert [word(each) for each in answers] == ["BYPASS", "MISS", "BYPASS"]
    assert {urlsplit(item(each)["url"]).path.split("/")[2] for each in answers} == {"files"}


def test_only_so_many_pictures_as_were_asked_for_are_fetched(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with recording_upstream() as upstream:
        own = {"base_url": upstream.url, "picture_hosts": [upstream.origin]}
        settings = settings_for(tmp_path, emulator, {"upstream": own})
        make_key(settings)
        upstream.by_url, upstream.pictures = True, 3
        with serving(settings) as gateway:
            answer = gateway.edit()
            log = gateway.log.getvalue()

    assert len(answer.json()["data"]) == 3
    assert "it gives 3 URLs for 1 pictures" in log


# --- what a link shows ------------------------------------------------------------------


def test_a_picture_is_served_with_its_type_and_nothing_can_run_in_it(
    linking: Running, emulator: EmulatorServer
) -> None:
    url = link(linking, "shown")
    shown = show(linking, url)

    assert shown.status_code == 200
    assert shown.content.startswith(b"\x89PNG")
    head = shown.headers
    assert head["content-type"] == "image/png"
    assert head["content-disposition"] == 'inline; filename="picture.png"'
    assert head["x-content-type-options"] == "nosniff"
    assert head["content-security-policy"] == "sandbox; default-src 'none'"
    assert head["referrer-policy"] == "no-referrer"
    assert head["accept-ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f]{32}\.0"', head["etag"])
    kept = re.fullmatch(r"private, max-age=(\d+)", head["cache-control"])
    assert kept
    assert 3_590 <= int(kept[1]) <= 3_600
    with linking.client(None) as client:
        empty = client.head(here(linking, url))
    assert empty.content == b""
    assert empty.headers["content-length"] == str(len(shown.content))


KINDS = [
    (b"\xff\xd8\xff\xe0 jpeg", "image/jpeg", "jpg", "inline"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", "webp", "inline"),
    (b"GIF89a gif", "image/gif", "gif", "inline"),
    (SVG, "image/svg+xml", "svg", "attachment"),
    (b"\0\0\0\x1cftypavif", "image/avif", "avif", "attachment"),
    (b"II*\0 tiff", "image/tiff", "tiff", "attachment"),
]


def test_only_pictures_that_can_hold_no_script_are_shown_inline(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with recording_upstream() as upstream:
        more = {"server": {"public_url": PUBLIC}, "upstream": {"base_url": upstream.url}}
        settings = settings_for(tmp_path, emulator, more)
        make_key(settings)
        with serving(settings) as gateway:
            for content, media_type, ending, way in KINDS:
                upstream.picture = content
                shown = show(gateway, link(gateway, f"as {ending}"))
                assert shown.content == content
                assert shown.headers["content-type"] == media_type
                assert shown.headers["content-disposition"] == f'{way}; filename="picture.{ending}"'
                assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
                assert shown.headers["x-content-type-options"] == "nosniff"


def test_ranges_and_conditions_are_those_of_rfc_9110(
    linking: Running, emulator: EmulatorServer
) -> None:
    url = link(linking, "in parts")
    whole = show(linking, url)
    etag, size = whole.headers["etag"], len(whole.content)

    part = show(linking, url, range="bytes=10-19", **{"if-range": etag})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    assert show(linking, url, range="bytes=-5").content == whole.content[-5:]
    other = show(linking, url, range="bytes=10-19", **{"if-range": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)
    assert show(linking, url, range="bytes=0-1,4-5").status_code == 200
    beyond = show(linking, url, range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    same = show(linking, url, **{"if-none-match": f'W/"x", {etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert "content-length" not in same.headers
    assert show(linking, url, **{"if-match": '"other"'}).status_code == 412
    with linking.client(None) as client:
        head = client.head(here(linking, url), headers={"range": "bytes=0-0"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(size))


def test_a_page_of_a_permitted_origin_may_read_a_picture(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    more = overrides(emulator)
    more["server"]["cors_origins"] = ["https://app.example"]
    settings = settings_for(tmp_path, emulator, more)
    make_key(settings)
    with serving(settings) as gateway:
        shown = show(gateway, link(gateway, "cors"), origin="https://app.example")

    assert shown.headers["access-control-allow-origin"] == "https://app.example"
    assert "Content-Range" in shown.headers["access-control-expose-headers"]


# --- who may, and until when ------------------------------------------------------------


def changed(url: str, part: str) -> str:
    """The link with one thing in it changed."""
    place, _, query = url.partition("?")
    expires, signature = re.findall(r"=([^&]+)", query)
    key, at, digest, ending = place.rpartition("/")[2].split(".")
    folder = place.rpartition("/")[0]
    last = "A" if signature[-2] != "A" else "B"
    flipped = key[:-1] + ("0" if key[-1] != "0" else "1")
    return {
        "expires": f"{place}?expires={int(expires) + 1}&signature={signature}",
        "signature": f"{place}?expires={expires}&signature={signature[:-2]}{last}{signature[-1]}",
        "no signature": f"{place}?expires={expires}",
        "empty signature": f"{place}?expires={expires}&signature=",
        "no query": place,
        "second expires": f"{url}&expires={int(expires) + 60}",
        "second signature": f"{url}&signature={signature}",
        "odd expires": url.replace(f"={expires}", f"=0{expires}"),
        "huge expires": url.replace(f"={expires}", "=" + "9" * 5_000),
        "odd signature": f"{place}?expires={expires}&signature=%ff%00%0a",
        "next picture": f"{folder}/{key}.{int(at) + 1}.{digest}.{ending}?{query}",
        "other type": f"{folder}/{key}.{at}.{digest}.svg?{query}",
        "other edit": f"{folder}/{flipped}.{at}.{digest}.{ending}?{query}",
        "other result": f"{folder}/{key}.{at}.{'0' * 32}.{ending}?{query}",
        "path": f"{folder}/..%2f..%2fkey.{at}.{digest}.{ending}?{query}",
        "many": url + "&a=1" * 100,
    }[part]


PARTS = (
    "expires", "signature", "no signature", "empty signature", "no query", "second expires",
    "second signature", "odd expires", "huge expires", "odd signature", "next picture",
    "other type", "other edit", "other result", "many",
)  # fmt: skip


def test_a_link_in_which_anything_is_changed_is_refused_before_anything_is_read(
    linking: Running, emulator: EmulatorServer
) -> None:
    url = link(linking, "unchanged")
    for part in PARTS:
        refused = show(linking, changed(url, part))
        said = refused.status_code, refused.json()["error"]["code"]
        assert said == (403, "permission_denied"), part
    assert show(linking, url).status_code == 200


def test_a_link_leads_to_no_file(linking: Running, emulator: EmulatorServer) -> None:
    assert show(linking, changed(link(linking, "path"), "path")).status_code in (403, 404)


def test_whoever_holds_a_link_may_read_its_picture_and_a_key_gives_no_more(
    linking: Running, emulator: EmulatorServer
) -> None:
    """The link is the permission: another team's key neither helps nor hinders."""
    make_key(linking.settings, team="other", secret="sk-other-0123456789", name="other")
    url = link(linking, "held by anybody")
    unsigned = url.partition("?")[0]
    for key in (None, "sk-other-0123456789", "sk-unknown-000000000"):
        with linking.client(key) as client:
            assert client.get(here(linking, url)).status_code == 200
            assert client.get(here(linking, unsigned)).status_code == 403
    with linking.client() as client:
        assert client.get(here(linking, unsigned)).status_code == 403


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def test_an_old_link_is_refused_and_the_next_one_works(
    tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock
) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator, link_seconds=60))
    make_key(settings)
    with serving(settings, clock) as gateway:
        url = link(gateway, "soon old")
        clock.step(50)
        still = show(gateway, url)
        clock.step(11)
        old, new = show(gateway, url), show(gateway, link(gateway, "soon old"))

    assert int(still.headers["cache-control"].rpartition("=")[2]) <= 10
    assert (old.status_code, old.json()["error"]["code"]) == (403, "permission_denied")
    assert "expired" in old.json()["error"]["message"]
    assert new.status_code == 200
    assert emulator.stats()["billed_calls"] == 1


def test_a_picture_that_has_expired_is_gone_and_no_copy_outlives_it(
    tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock
) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator, ttl=100, link_seconds="1d"))
    make_key(settings)
    with serving(settings, clock) as gateway:
        url = link(gateway, "of a short life")
        shown = show(gateway, url)
        clock.step(101)
        gone = show(gateway, url)

    assert int(shown.headers["cache-control"].rpartition("=")[2]) <= 100
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "picture_gone")


def test_a_purged_picture_is_gone(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator))
    make_key(settings)
    with serving(settings) as gateway:
        url = link(gateway, "purged")
        etag = show(gateway, url).headers["etag"]
        assert asyncio.run(purge(settings)) == 1
        gone = show(gateway, url, **{"if-none-match": etag})

    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "picture_gone")


def test_a_replaced_picture_is_not_shown_under_the_old_link(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    with recording_upstream() as upstream:
        more = {"server": {"public_url": PUBLIC}, "upstream": {"base_url": upstream.url}}
        settings = settings_for(tmp_path, emulator, more)
        make_key(settings)
        with serving(settings) as gateway:
            old = link(gateway, "replaced")
            upstream.picture = png(3, 3)
            anew = gateway.edit(
                "replaced", response_format="url", headers={"x-gateway-cache-control": "no-cache"}
            )
            answers = [show(gateway, url) for url in (old, item(anew)["url"])]

    assert word(anew) == "REFRESHED"
    assert [answer.status_code for answer in answers] == [410, 200]
    assert answers[1].content == upstream.picture


def test_an_evicted_picture_is_gone(tmp_path: Path, emulator: EmulatorServer) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator, memory_bytes=0))
    make_key(settings)
    with serving(settings) as gateway:
        url = link(gateway, "evicted")
        for body in (tmp_path / "cache").rglob("*.val"):
            body.unlink()
        gone = show(gateway, url)

    assert gone.status_code == 410


def test_while_the_store_fails_links_are_503_and_bytes_are_given_in_their_place(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator))
    make_key(settings)
    (tmp_path / "file").touch()
    broken = overrides(emulator, url=f"disk:{tmp_path / 'file' / 'cache'}")
    with serving(settings) as gateway:
        url = link(gateway, "stored")
    with serving(settings_for(tmp_path, emulator, broken)) as gateway:
        unreadable = show(gateway, url)
        bought = gateway.edit("not stored", response_format="url")

    assert unreadable.status_code == 503
    assert unreadable.json()["error"]["code"] == "results_unavailable"
    assert unreadable.headers["x-should-retry"] == "true"
    assert base64.b64decode(item(bought)["b64_json"]).startswith(b"\x89PNG")


# --- any process ------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_link_of_one_process_is_valid_at_every_other(
    tmp_path: Path, emulator: EmulatorServer, engine: str, request: pytest.FixtureRequest
) -> None:
    more = overrides(emulator)
    if engine == "postgres":
        more["state"] = {"url": fresh_schema(request.getfixturevalue("postgres_url"))}
    tables = tables_of(tmp_path, emulator, more)
    make_key(settings_for(tmp_path, emulator, more))
    emulator.order(always=BY_URL)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(GatewayProcess(tables, tmp_path / name)) for name in ("a", "b")
        )
        urls = {one: link(one, "made here"), other: link(other, "made there")}
        for gateway in (one, other):
            assert {show(gateway, url).status_code for url in urls.values()} == {200}
            assert gateway.edit("made here").headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["billed_calls"] == 2


@pytest.mark.long
def test_two_workers_serve_each_other_s_links(tmp_path: Path, emulator: EmulatorServer) -> None:
    more = overrides(emulator)
    more["server"]["workers"] = 2
    tables = tables_of(tmp_path, emulator, more)
    make_key(settings_for(tmp_path, emulator, more))
    with GatewayProcess(tables, tmp_path / "process") as gateway:
        urls = [link(gateway, f"by a worker {number}") for number in range(6)]
        answers = [show(gateway, url).status_code for url in urls for _ in range(4)]

    assert set(answers) == {200}


def test_followers_of_another_process_wait_for_the_fetch(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    """It may take longer than a result is otherwise on its way to the store."""
    with recording_upstream() as upstream:
        more = overrides(emulator, timeout_seconds=0.2)
        more["upstream"] = {"base_url": upstream.url, "picture_hosts": [upstream.origin]}
        settings = settings_for(tmp_path, emulator, more)
        make_key(settings)
        upstream.by_url, upstream.picture_seconds = True, 1.8
        with serving(settings) as one, serving(settings) as other:
            answers = crowd([one.url, other.url], 4)

    assert {each.status_code for each in answers} == {200}
    assert len(upstream.seen) == 1


def test_the_key_is_another_one_on_another_day(
    tmp_path: Path, emulator: EmulatorServer, clock: SteppedClock
) -> None:
    settings = settings_for(tmp_path, emulator, overrides(emulator))
    make_key(settings)
    with serving(settings, clock) as gateway:
        old = link(gateway, "signed")
    clock.step(DAY_SECONDS)
    with serving(settings, clock) as gateway:
        new = link(gateway, "signed")
        answers = [show(gateway, url).status_code for url in (old, new)]
    keys = in_state(settings, link_keys.read_keys)

    assert answers == [403, 200]
    days = [int(re.findall(r"expires=(\d+)", url)[0]) // DAY_SECONDS for url in (old, new)]
    assert days[0] + 1 == days[1]
    assert keys[days[0]] != keys[days[1]]
