"""The life of an edit, over a real socket: what the client sees and what reached the upstream."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from gateway.emulator import EmulatorServer
from gateway.settings import Settings, load
from tests.support.serving import KEY, PHOTOGRAPH, Running, make_key, serving, settings_for
from tests.support.upstreams import png, recording_upstream


def test_an_edit_is_a_miss_and_the_second_time_a_hit_that_costs_nothing(
    gateway: Running, emulator: EmulatorServer
) -> None:
    first, second = gateway.edit(), gateway.edit()

    assert (first.status_code, second.status_code) == (200, 200)
    assert [r.headers["x-gateway-cache"] for r in (first, second)] == ["MISS", "HIT"]
    assert [r.headers["x-gateway-cost-usd"] for r in (first, second)] == ["0.01", "0"]
    assert second.headers["x-gateway-saved-usd"] == "0.01"
    assert first.json()["data"] == second.json()["data"]
    assert emulator.stats()["billed_calls"] == 1


def test_the_picture_really_is_the_edited_one(gateway: Running) -> None:
    answer = gateway.edit("make it grey").json()

    picture = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))
    original = Image.open(io.BytesIO(PHOTOGRAPH))
    red, green, blue = picture.convert("RGB").resize((8, 8)).split()
    assert picture.size == original.size
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_on_a_hit_the_body_says_that_it_cost_nothing_and_what_was_saved(gateway: Running) -> None:
    first, second = gateway.edit().json(), gateway.edit().json()

    assert first["usage"]["cost"] == {"total_cost": 0.01}
    assert second["usage"]["cost"] == {"total_cost": 0, "saved_cost": 0.01}


def test_every_header_of_a_miss_and_of_a_hit(gateway: Running) -> None:
    miss, hit = gateway.edit(images=2).headers, gateway.edit(images=2).headers

    key = re.search(r'key="([^"]+)"', miss["cache-status"])
    assert key
    assert miss["cache-status"] == f'gateway; fwd=uri-miss; stored; ttl=2592000; key="{key[1]}"'
    assert re.fullmatch(rf'gateway; hit; ttl=25919\d\d; key="{key[1]}"', hit["cache-status"])
    assert "age" not in miss
    assert int(hit["age"]) <= 5
    assert (miss["x-gateway-saved-usd"], hit["x-gateway-saved-usd"]) == ("0", "0.01")
    assert miss["x-gateway-reference-images"] == hit["x-gateway-reference-images"] == "2/5"
    assert miss["x-request-id"] != hit["x-request-id"]
    assert miss["x-gateway-upstream-request-id"].startswith("req_emu_")
    assert "forward;dur=" in miss["server-timing"]
    assert "look_up;dur=" in hit["server-timing"]


def test_what_identifies_the_provider_or_its_limits_does_not_come_through(gateway: Running) -> None:
    names = gateway.edit().headers.keys()

    assert not [name for name in names if name.startswith(("openai-", "x-ratelimit-", "server"))
                and name != "server-timing"]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "make it blur"},
        {"size": "64x64"},
        {"background": "transparent"},
        {"an_unknown_field": "1"},
        {"images": 2},
        {"images": [PHOTOGRAPH + b"\0"]},
        {"headers": {"x-gateway-variant": "2"}},
    ],
)
def test_another_edit_is_another_picture(
    gateway: Running, emulator: EmulatorServer, changed: dict[str, Any]
) -> None:
    gateway.edit()
    other = gateway.edit(**changed)

    assert other.headers["x-gateway-cache"] == "MISS"
    assert emulator.stats()["billed_calls"] == 2


def test_the_same_edit_in_another_encoding_is_a_hit(
    gateway: Running, emulator: EmulatorServer
) -> None:
    gateway.edit(n="1", user="ann")
    with gateway.client() as client:
        again = client.post(
            "/v1/images/edits",
            files=[
                ("image", ("other name.png", PHOTOGRAPH, "application/octet-stream")),
                ("n", (None, "1.0")),
                ("user", (None, "bob")),
                ("prompt", (None, "make it grey")),
                ("model", (None, "deepshi-image-1")),
            ],
        )

    assert again.headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["billed_calls"] == 1


def test_every_part_reaches_the_upstream_as_it_was_sent(tmp_path: Path) -> None:
    with recording_upstream() as upstream:
        settings = load(
            environment={},
            overrides={
                "server": {"port": 0},
                "upstream": {"base_url": upstream.url, "api_key": "sk-upstream-secret"},
                "cache": {"url": f"disk:{tmp_path / 'cache'}"},
                "state": {"url": f"sqlite:{tmp_path / 'gateway.db'}"},
            },
        )
        make_key(settings)
        mask = png(8, 8)
        with serving(settings) as gateway, gateway.client() as client:
            answer = client.post(
                "/v1/images/edits",
                headers={"openai-organization": "org-1", "x-stainless-lang": "python"},
                files=[
                    ("image[]", ('../ü".jpg', PHOTOGRAPH, "application/octet-stream")),
                    ("mask", ("mask", mask, "application/octet-stream")),
                    ("image[]", ("b.png", png(4, 4), "image/jpeg")),
                    ("style[name]", (None, "näive \r\n--x")),
                    ("prompt", (None, " two  spaces ")),
                    ("model", (None, "deepshi-image-1")),
                    ("zeta[]", (None, "1")),
                    ("zeta[]", (None, "0")),
                ],
            )
        assert answer.status_code == 200, answer.text

    headers, fields, files = upstream.seen[0]
    assert fields == [
        ("model", "deepshi-image-1"),
        ("prompt", " two  spaces "),
        ("style[name]", "näive \n--x"),
        ("zeta[]", "1"),
        ("zeta[]", "0"),
    ]
    assert [(name, kind, data) for name, kind, data in files] == [
        ("image[]", "image/jpeg", PHOTOGRAPH),
        ("image[]", "image/png", png(4, 4)),
        ("mask", "image/png", mask),
    ]
    assert headers["authorization"] == "Bearer sk-upstream-secret"
    assert not {"openai-organization", "x-stainless-lang"} & headers.keys()


def test_a_large_upload_goes_through_the_spool_unharmed(
    gateway: Running, emulator: EmulatorServer
) -> None:
    large = png(1600, 1600, noise=True)
    assert len(large) > 4 * 2**20
    first = gateway.edit(images=[large], size="64x64")
    second = gateway.edit(images=[large], size="64x64")

    assert [r.headers["x-gateway-cache"] for r in (first, second)] == ["MISS", "HIT"]


def test_a_client_that_leaves_does_not_lose_the_picture(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order({"latency_seconds": 1.0})
    with pytest.raises(httpx.ReadTimeout), gateway.client() as client:
        client.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "make it grey"},
            files=[("image[]", ("a.jpg", PHOTOGRAPH))],
            timeout=0.3,
        )
    again = gateway.edit()

    assert again.headers["x-gateway-cache"] in ("HIT", "COALESCED")
    assert again.headers["x-gateway-cost-usd"] == "0"
    assert emulator.stats()["billed_calls"] == 1


def test_who_asks_for_the_same_meanwhile_shares_the_one_call(
    gateway: Running, emulator: EmulatorServer
) -> None:
    emulator.order(always={"latency_seconds": 0.5})
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: gateway.edit(), range(20)))

    outcomes = Counter(answer.headers["x-gateway-cache"] for answer in answers)
    assert outcomes == {"MISS": 1, "COALESCED": 19}
    assert emulator.stats()["billed_calls"] == 1
    assert sorted(a.headers["x-gateway-cost-usd"] for a in answers) == ["0"] * 19 + ["0.01"]


def test_no_cache_buys_anew_and_replaces(gateway: Running, emulator: EmulatorServer) -> None:
    gateway.edit()
    fresh = gateway.edit(headers={"x-gateway-cache-control": "no-cache"})
    after = gateway.edit()

    assert fresh.headers["x-gateway-cache"] == "REFRESHED"
    assert after.headers["x-gateway-cache"] == "HIT"
    assert emulator.stats()["billed_calls"] == 2


def test_no_store_buys_anew_and_keeps_nothing(gateway: Running, emulator: EmulatorServer) -> None:
    bypass = gateway.edit(headers={"x-gateway-cache-control": "no-store"})
    after = gateway.edit()

    assert bypass.headers["x-gateway-cache"] == "BYPASS"
    assert "detail=no-store" in bypass.headers["cache-status"]
    assert after.headers["x-gateway-cache"] == "MISS"
    assert emulator.stats()["billed_calls"] == 2


def test_results_by_address_are_passed_on_but_not_stored(gateway: Running) -> None:
    first = gateway.edit(response_format="url")
    second = gateway.edit(response_format="url")

    assert first.json()["data"][0]["url"].startswith("http")
    assert [r.headers["x-gateway-cache"] for r in (first, second)] == ["MISS", "MISS"]
    assert "detail=url-results" in first.headers["cache-status"]


@pytest.mark.parametrize("body", [b"<!doctype html><h1>Sorry" + b" " * 3_000, b"no picture"])
def test_what_is_no_picture_is_delivered_and_booked_but_not_stored(
    tmp_path: Path, emulator: EmulatorServer, body: bytes
) -> None:
    with recording_upstream() as upstream:
        upstream.picture = body
        settings = settings_for(tmp_path, emulator, {"upstream": {"base_url": upstream.url}})
        make_key(settings)
        with serving(settings) as gateway:
            answers = [gateway.edit() for _ in range(2)]

    for answer in answers:
        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == body
        assert answer.headers["x-gateway-cache"] == "MISS"
        assert answer.headers["x-gateway-cost-usd"] == "0.01"
        assert "detail=not-a-picture" in answer.headers["cache-status"]
    assert len(upstream.seen) == 2


def test_a_generation_goes_through_uncached_by_default(
    gateway: Running, emulator: EmulatorServer
) -> None:
    document = {"model": "deepshi-banana-pro", "prompt": "a boat", "size": "64x64"}
    with gateway.client() as client:
        answers = [client.post("/v1/images/generations", json=document) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.headers["x-gateway-cache"] for answer in answers] == ["BYPASS", "BYPASS"]
    assert emulator.stats()["billed_nanos"] == 40_000_000


@pytest.mark.parametrize("cost", ["missing", "many", -1, Decimal("NaN"), True, 1_000_000])
def test_a_cost_that_cannot_be_believed_is_booked_at_the_ceiling(
    gateway: Running, emulator: EmulatorServer, cost: object
) -> None:
    emulator.order({"cost": cost})
    answer = gateway.edit()

    assert answer.status_code == 200
    assert answer.headers["x-gateway-cost-usd"] == "0.01"


@pytest.mark.parametrize(
    ("cost", "usd"), [("0.003", "0.003"), (Decimal("0.0000000001"), "0.000000001")]
)
def test_the_upstream_s_own_cost_is_booked_to_the_nano(
    gateway: Running, emulator: EmulatorServer, cost: object, usd: str
) -> None:
    emulator.order({"cost": cost})

    assert gateway.edit().headers["x-gateway-cost-usd"] == usd


def test_two_teams_do_not_share_and_two_keys_of_a_team_do(
    settings: Settings, emulator: EmulatorServer
) -> None:
    make_key(settings, name="second", secret="sk-second-key")
    make_key(settings, team="other", secret="sk-other-team")
    with serving(settings) as gateway:
        outcomes = [
            gateway.edit(key=key).headers["x-gateway-cache"]
            for key in (KEY, "sk-second-key", "sk-other-team")
        ]

    assert outcomes == ["MISS", "HIT", "MISS"]
    assert emulator.stats()["billed_calls"] == 2


def test_a_json_edit_is_the_same_edit(gateway: Running, emulator: EmulatorServer) -> None:
    gateway.edit("make it grey", width="64", height="64")
    picture = "data:image/jpeg;base64," + base64.b64encode(PHOTOGRAPH).decode()
    document = {
        "model": "deepshi-image-1",
        "prompt": "make it grey",
        "images": [{"image_url": picture}],
        "height": 64,
        "width": 64,
    }
    with gateway.client() as client:
        again = client.post("/v1/images/edits", json=document)
        other = client.post("/v1/images/edits", json={**document, "height": 65})

    assert again.headers["x-gateway-cache"] == "HIT"
    assert other.headers["x-gateway-cache"] == "MISS"
    assert emulator.stats()["billed_calls"] == 2


@pytest.mark.parametrize(
    "image", [{"image_url": "https://example.com/a.png"}, {"file_id": "file-1"}]
)
def test_a_json_edit_by_address_is_refused_and_nothing_is_fetched(
    gateway: Running, emulator: EmulatorServer, image: dict[str, str]
) -> None:
    document = {"model": "deepshi-image-1", "prompt": "grey", "images": [image]}
    with gateway.client() as client:
        refused = client.post("/v1/images/edits", json=document)

    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "unsupported_image_source"
    assert emulator.stats()["calls"] == 0


def test_a_mask_keeps_what_it_covers(gateway: Running) -> None:
    """The mask's transparent half is edited, the other stays as it was."""
    size = (64, 64)
    picture, mask = io.BytesIO(), io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(picture, "PNG")
    cover = Image.new("RGBA", size, (0, 0, 0, 255))
    cover.paste((0, 0, 0, 0), (0, 0, 32, 64))
    cover.save(mask, "PNG")
    with gateway.client() as client:
        answer = client.post(
            "/v1/images/edits",
            data={"model": "deepshi-image-1", "prompt": "make it grey"},
            files=[
                ("image", ("a.png", picture.getvalue())),
                ("mask", ("m.png", mask.getvalue())),
            ],
        ).json()

    edited = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB")
    left, right = edited.getpixel((5, 32)), edited.getpixel((60, 32))
    assert right == (200, 30, 30)
    assert isinstance(left, tuple)
    assert left[0] == left[1] == left[2]


@pytest.mark.parametrize(("cached", "calls"), [(False, 2), (True, 1)])
def test_identical_generations_at_once_are_two_unless_generations_are_cached(
    tmp_path: Path, emulator: EmulatorServer, cached: bool, calls: int
) -> None:
    settings = settings_for(tmp_path, emulator, {"cache": {"generations": cached}})
    make_key(settings)
    emulator.order(always={"latency_seconds": 1.0})
    document = {"model": "deepshi-banana-pro", "prompt": "a boat", "size": "64x64"}

    with serving(settings) as gateway, gateway.client() as client, ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(client.post, "/v1/images/generations", json=document) for _ in range(2)
        ]
        words = sorted(
            coalescing_key.result().headers["x-gateway-cache"] for coalescing_key in asked
        )

    assert words == (["COALESCED", "MISS"] if cached else ["BYPASS", "BYPASS"])
    assert emulator.stats()["billed_calls"] == calls


def test_what_is_hashed_as_one_is_sent_as_one(tmp_path: Path) -> None:
    with recording_upstream() as upstream:
        tables: dict[str, dict[str, object]] = {
            "server": {"port": 0},
            "upstream": {"base_url": upstream.url, "api_key": "sk-upstream-secret"},
            "cache": {"url": f"disk:{tmp_path / 'cache'}"},
            "state": {"url": f"sqlite:{tmp_path / 'gateway.db'}"},
        }
        settings = load(environment={}, overrides=tables)
        make_key(settings)
        with serving(settings) as gateway:
            written = gateway.edit(n="1.0", width="64.0", stream="False")
            plain = gateway.edit(n="1", width="64")
            too_many = gateway.edit(n="1001")

    assert [r.headers["x-gateway-cache"] for r in (written, plain)] == ["MISS", "HIT"]
    assert dict(upstream.seen[0][1]) == {
        "model": "deepshi-image-1", "n": "1", "prompt": "make it grey", "stream": "false",
        "width": "64",
    }  # fmt: skip
    assert (too_many.status_code, too_many.json()["error"]["code"]) == (400, "unsupported_n")
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stream": "yes"}, "invalid_field"),
        ({"partial_images": "4"}, "invalid_field"),
        ({"na\\me": "1"}, "invalid_field"),
        ({"image_url": "https://example.test/x.png"}, "unsupported_image_source"),
    ],
)
def test_what_could_be_read_in_two_ways_never_goes_upstream(
    gateway: Running, emulator: EmulatorServer, fields: dict[str, Any], code: str
) -> None:
    refused = gateway.edit(**fields)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert emulator.stats()["calls"] == 0


def test_a_generation_brings_no_picture(gateway: Running, emulator: EmulatorServer) -> None:
    document = {"model": "deepshi-banana-pro", "prompt": "a boat"}
    with gateway.client() as client:
        refused = client.post(
            "/v1/images/generations", json={**document, "image": ["https://example.test/x.png"]}
        )

    assert refused.json()["error"]["code"] == "unsupported_image_source"
    assert "/v1/images/edits" in refused.json()["error"]["message"]
    assert emulator.stats()["calls"] == 0


def test_a_request_asks_for_as_many_images_as_every_level_allows(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    team = {"unlimited": True, "max_images_per_request": 2}
    make_key(settings, team_terms=team, key_terms={"max_images_per_request": 2})
    with serving(settings) as gateway:
        allowed = gateway.edit(model="deepshi-multi-1", n="2")
        refused = gateway.edit(model="deepshi-multi-1", n="3")
    assert (allowed.status_code, len(allowed.json()["data"])) == (200, 2)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "unsupported_n", "n")
    assert "at most 2 images per request, and n is 3" in error["message"]
    assert emulator.stats()["billed_calls"] == 1
