"""A state and a cache of 0.1 under this version: nothing that is stored is bought again.

`gateway-0.1.tar.xz` was recorded with 0.1: its database, its results, and the requests whose
results they are, each as a content type, a line feed, and the body.
"""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from gateway.accounts.tables.teams import list_teams
from gateway.cache.disk.store import DiskStore
from gateway.cache.result_store import Stored
from gateway.cache.rules.fingerprint import Sharing, previous_keys
from gateway.cli import main
from gateway.database.clock import now_ms
from gateway.emulator import EmulatorServer
from gateway.uploads.uploaded_file import digest
from tests.support.bodies import read
from tests.support.serving import Running, SteppedClock, in_state, serving, settings_for

RECORDED = Path(__file__).with_name("gateway-0.1.tar.xz")
NAMES = [
    "edits-crlf",
    "edits-defaults",
    "edits-json",
    "edits-lf",
    "edits-numbers",
    "edits-plain",
    "generations-json",
]
TTL = {"cache": {"ttl": "36500d", "generations": True}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(RECORDED) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def gateway(folder: Path, emulator: EmulatorServer) -> Iterator[Running]:
    with serving(settings_for(folder, emulator, TTL)) as running:
        yield running


def ask(
    gateway: Running, folder: Path, name: str, *, body: bytes | None = None, cache_control: str = ""
) -> httpx.Response:
    content_type, _, recorded = (folder / "requests" / name).read_bytes().partition(b"\n")
    route = f"/v1/images/{name.partition('-')[0]}"
    sent = {"content-type": content_type.decode(), "x-gateway-cache-control": cache_control}
    with gateway.client() as client:
        return client.post(route, content=body or recorded, headers=sent)


def test_nothing_that_is_stored_is_bought_again(
    folder: Path, gateway: Running, emulator: EmulatorServer
) -> None:
    assert sorted(path.name for path in (folder / "requests").iterdir()) == NAMES
    for name in NAMES:
        answer = ask(gateway, folder, name)
        assert (name, answer.headers["x-gateway-cache"]) == (name, "HIT")
        assert 'key="v1-' in answer.headers["cache-status"]
    assert emulator.stats()["calls"] == 0


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [("edits-crlf", b"two\r\nlines", b"two\nlines"), ("edits-lf", b"\nmore\n", b"\r\nmore\r\n")],
)
def test_another_sdks_line_ends_find_it_too(
    folder: Path, gateway: Running, name: str, one: bytes, other: bytes
) -> None:
    recorded = (folder / "requests" / name).read_bytes().partition(b"\n")[2]
    assert one in recorded
    answer = ask(gateway, folder, name, body=recorded.replace(one, other))
    assert answer.headers["x-gateway-cache"] == "HIT"


def key_of(answer: httpx.Response) -> str:
    return answer.headers["cache-status"].partition('key="')[2].partition('"')[0]


def purge(gateway: Running, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_STATE__URL", gateway.settings.state.url)
    monkeypatch.setenv("GATEWAY_CACHE__URL", gateway.settings.cache.url)
    done = CliRunner().invoke(main, ["cache", "purge", "--fingerprint", key, "--yes"])
    assert done.stdout == "1 entries purged.\n", done.output


def test_a_purge_finds_results_of_both_versions(
    folder: Path, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ask(gateway, folder, "edits-plain")
    purge(gateway, key_of(found), monkeypatch)
    bought = ask(gateway, folder, "edits-plain")
    assert (bought.headers["x-gateway-cache"], key_of(bought)[:3]) == ("MISS", "v2-")
    assert ask(gateway, folder, "edits-plain").headers["x-gateway-cache"] == "HIT"
    purge(gateway, key_of(bought), monkeypatch)
    assert ask(gateway, folder, "edits-plain").headers["x-gateway-cache"] == "MISS"


def test_a_result_that_was_replaced_does_not_come_back(
    folder: Path, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = ask(gateway, folder, "edits-crlf", cache_control="no-cache")
    purge(gateway, key_of(replaced), monkeypatch)
    assert ask(gateway, folder, "edits-crlf").headers["x-gateway-cache"] == "MISS"


def test_old_keys_are_looked_up_until_one_ttl_after_the_upgrade(
    folder: Path, emulator: EmulatorServer
) -> None:
    clock = SteppedClock()
    settings = settings_for(folder, emulator, {"cache": {"ttl": "1h"}})
    for step, outcome in [(0, "HIT"), (3_500, "HIT"), (200, "MISS")]:
        clock.step(step)
        with serving(settings, clock) as gateway:
            answer = ask(gateway, folder, "edits-plain")
            assert answer.headers["x-gateway-cache"] == outcome


def test_only_a_miss_looks_for_old_keys(
    folder: Path, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit of this version reads the store once, and a new edit each old key once."""
    keys: list[str] = []
    read = DiskStore.get

    async def recorded(store: DiskStore, key: str) -> Stored | None:
        keys.append(key)
        return await read(store, key)

    monkeypatch.setattr(DiskStore, "get", recorded)
    new = gateway.edit(prompt="one\ntwo")
    assert new.headers["x-gateway-cache"] == "MISS"
    assert [key[:3] for key in keys] == ["v2-", "v1-", "v1-", "v2-"]
    keys.clear()
    assert gateway.edit(prompt="one\ntwo").headers["x-gateway-cache"] == "HIT"
    assert keys == [key_of(new)]


def test_of_two_old_results_the_newer_is_served(folder: Path, emulator: EmulatorServer) -> None:
    """The request's own line ends found a result of 0.1 that is older than max-age allows."""
    content_type, _, body = (folder / "requests/edits-crlf").read_bytes().partition(b"\n")
    settings = settings_for(folder, emulator, TTL)
    (team,) = in_state(settings, list_teams)
    sharing = Sharing(team.id, settings.upstream.name)
    own, other, *_ = previous_keys(read(body, content_type.decode()), sharing, digest)

    async def add_older() -> int:
        store = DiskStore(folder / "cache", 10**8)
        found = await store.get(own)
        assert found
        older = replace(found.entry, key=other, created_ms=found.entry.created_ms - 10**9)
        assert await store.put(older, found.body)
        await store.close()
        return found.entry.created_ms

    created_ms = asyncio.run(add_older())
    max_age = f"max-age={(now_ms() - created_ms) // 1000 + 3_600}"
    lf = body.replace(b"two\r\nlines", b"two\nlines")
    with serving(settings) as gateway:
        answer = ask(gateway, folder, "edits-crlf", body=lf, cache_control=max_age)
    assert answer.headers["x-gateway-cache"] == "HIT"
