"""A state and a cache of 0.1 under this version: nothing that is stored is bought again.

`gateway-0.1.tar.xz` was recorded with 0.1: its database, its results, and the requests whose
results they are, each as a content type, a line feed, and the body. `gateway-0.1.toml` is its
settings file, with every setting that it had.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.accounts.tables.teams import list_teams
from gateway.cache.disk.store import DiskStore
from gateway.cache.result_store import Stored
from gateway.cache.rules.fingerprint import Sharing, previous_keys
from gateway.cli import main
from gateway.database.backup import open_backup
from gateway.database.clock import now_ms
from gateway.database.database import Transaction
from gateway.database.migrate import apply_missing, known_migrations, schema_version
from gateway.database.multirow import insert_rows
from gateway.emulator import EmulatorServer
from gateway.settings import load
from gateway.uploads.uploaded_file import digest
from tests.support.bodies import read
from tests.support.databases import open_engine
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import Running, SteppedClock, in_state, serving, settings_for

__all__ = ["postgres_url"]

RECORDED = Path(__file__).with_name("gateway-0.1.tar.xz")
SETTINGS = Path(__file__).with_name("gateway-0.1.toml")
SCHEMA = 9
"""Of 0.1."""
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


# --- the books and the settings -------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def state_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """The recorded state, on the engine that is asked for."""
    recorded = f"sqlite:{folder / 'gateway.db'}"
    if request.param == "sqlite":
        return recorded
    backup = folder / "state.backup"
    assert gateway_command(recorded, "state", "backup", str(backup)).exit_code == 0
    url = fresh_schema(request.getfixturevalue("postgres_url"))
    asyncio.run(_restore_unmigrated(url, backup))
    return url


async def _restore_unmigrated(url: str, backup: Path) -> None:
    async def write(tx: Transaction) -> None:
        await apply_missing(tx, known_migrations()[:SCHEMA])
        parts = [*open_backup(backup).parts()]
        for name in {part.table for part in parts}:  # migrations insert first rows into some
            await tx.fetch(f"DELETE FROM {name}")  # noqa: S608
        for part in parts:
            into = f"INSERT INTO {part.table} ({', '.join(part.columns)})"
            await insert_rows(tx, into, part.rows)

    database = open_engine(url)
    await database.exclusive(write)
    await database.close()


def gateway_command(url: str, *arguments: str) -> Result:
    env = {"GATEWAY_STATE__URL": url, "DEEPSHI_API_KEY": "sk-upstream"}
    return CliRunner().invoke(main, list(arguments), env=env)


def schema_of(url: str) -> int:
    async def read() -> int:
        database = open_engine(url)
        try:
            return await database.read(schema_version)
        finally:
            await database.close()

    return asyncio.run(read())


def test_a_command_on_a_state_of_0_1_says_what_to_run_and_changes_nothing(state_url: str) -> None:
    for command in (["teams", "list"], ["usage", "--by", "team"], ["pause"], ["init"]):
        refused = gateway_command(state_url, *command)
        assert refused.exit_code == 1
        assert f"schema is at version {SCHEMA}" in refused.stderr
        assert "run: gateway state migrate" in refused.stderr
    assert "gateway state migrate, or gateway serve" in gateway_command(state_url, "check").stdout
    assert schema_of(state_url) == SCHEMA


def test_a_state_of_0_1_is_migrated_on_request_and_keeps_its_books(state_url: str) -> None:
    newest = known_migrations()[-1].number
    planned = gateway_command(state_url, "state", "migrate", "--dry-run")
    assert f"would be migrated from schema {SCHEMA} to {newest}:\n  0010_prices\n" in planned.stdout
    assert schema_of(state_url) == SCHEMA

    assert gateway_command(state_url, "state", "migrate").exit_code == 0
    again = gateway_command(state_url, "state", "migrate")
    assert again.stdout.endswith(f"has schema {newest}; there is nothing to do.\n")
    verified = gateway_command(state_url, "ledger", "verify")
    assert (verified.exit_code, verified.stdout[:15]) == (0, "7 ledger rows: "), verified.output
    (team,) = json.loads(gateway_command(state_url, "teams", "list", "--json").stdout)
    assert (team["name"], team["budget"]["limit_usd"]) == ("design", None)


def test_a_gateway_migrates_a_state_of_0_1_and_goes_on_with_its_key_and_results(
    state_url: str, folder: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(folder, emulator, {**TTL, "state": {"url": state_url}})
    with serving(settings) as gateway:
        assert ask(gateway, folder, "edits-plain").headers["x-gateway-cache"] == "HIT"
        assert gateway.edit().headers["x-gateway-cache"] == "MISS"
    verified = gateway_command(state_url, "ledger", "verify")
    assert (verified.exit_code, verified.stdout[:15]) == (0, "8 ledger rows: "), verified.output


def test_a_settings_file_of_0_1_means_what_it_meant() -> None:
    """It names every setting with its default of then, which is the default of now."""
    given = {"DEEPSHI_API_KEY": "sk-upstream"}
    then = load(SETTINGS, environment=given).model_dump()
    now = load(Path("config/gateway.toml"), environment=given).model_dump()
    changed = {
        (section, name): (then[section][name], value)
        for section, table in now.items()
        for name, value in table.items()
        if then[section][name] != value
    }
    assert changed == {}
