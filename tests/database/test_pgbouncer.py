"""The state behind a real PgBouncer that pools transactions."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.database.database import StateUnavailable, Transaction
from gateway.database.migrate import known_migrations, migrate, schema_version
from gateway.database.postgres import PostgresDatabase
from gateway.emulator import EmulatorServer
from gateway.ledger.tables.verify import verify
from tests.end_to_end.test_budgets import burst, outcomes
from tests.support.engines import execute, postgres_url
from tests.support.serving import in_state, make_key, serving, settings_for

__all__ = ["postgres_url"]

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs Debian's package pgbouncer")


@contextmanager
def pgbouncer(folder: Path, postgres_url: str, mode: str) -> Iterator[str]:
    """A PgBouncer with three connections to a new database; yields that database's URL."""
    name = f"pooled_{uuid.uuid4().hex}"
    execute(postgres_url, f"CREATE DATABASE {name}")
    host = re.search(r"host=([^&]+)", postgres_url)
    assert host
    assert PGBOUNCER
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{name} = host={host[1]} dbname={name} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = 3\nmax_client_conn = 200\n"
    )
    # It refuses to run as root; the server's own user may use the server's socket.
    user = ("-u", Path(host[1]).owner()) if os.geteuid() == 0 else ()
    process = subprocess.Popen([PGBOUNCER, "-q", *user, str(config)])
    try:
        _wait_for(port)
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        else:
            return


def test_a_gateway_behind_a_transaction_pooler_buys_and_books_every_edit(
    tmp_path: Path, emulator: EmulatorServer, postgres_url: str
) -> None:
    with pgbouncer(tmp_path, postgres_url, "transaction") as url:
        settings = settings_for(tmp_path, emulator, {"state": {"url": url}})
        make_key(settings)
        with serving(settings) as gateway, serving(settings) as other:
            answers = asyncio.run(burst([gateway, other], 40))
        proven = in_state(settings, verify)

    assert outcomes(answers) == {"200": 40}
    assert (proven.differences, proven.held_nanos, proven.ledger_rows) == ((), 0, 40)


def test_nothing_of_a_transaction_stays_on_the_poolers_connections(
    tmp_path: Path, postgres_url: str
) -> None:
    async def left_over(tx: Transaction) -> tuple[str, int]:
        (row,) = await tx.fetch(
            "SELECT current_setting('application_name') AS name, "
            "(SELECT COUNT(*) FROM pg_prepared_statements WHERE name <> '') AS statements"
        )
        return row["name"], row["statements"]

    async def ask(url: str) -> list[tuple[str, int]]:
        database, others = PostgresDatabase(url), PostgresDatabase(url)
        await asyncio.gather(migrate(database), migrate(others))  # one waits for the other
        found = await asyncio.gather(*(database.read(left_over) for _ in range(20)))
        await database.close()
        await others.close()
        return found

    with pgbouncer(tmp_path, postgres_url, "transaction") as url:
        assert set(asyncio.run(ask(url))) == {("image-edit-gateway", 0)}


def test_the_second_of_two_poolers_is_used_while_the_first_is_gone(
    tmp_path: Path, postgres_url: str
) -> None:
    async def version_behind(url: str) -> int:
        database = PostgresDatabase(url)
        try:
            await migrate(database)
            return await database.read(schema_version)
        finally:
            await database.close()

    with pgbouncer(tmp_path, postgres_url, "transaction") as url:
        several = url.replace("@", "@127.0.0.1:1,", 1) + "?target_session_attrs=read-write"
        assert asyncio.run(version_behind(several)) == known_migrations()[-1].number


def test_a_pooler_of_single_statements_is_refused_in_one_line(
    tmp_path: Path, postgres_url: str
) -> None:
    async def start(url: str) -> None:
        database = PostgresDatabase(url)
        try:
            await migrate(database)
        finally:
            await database.close()

    with (
        pgbouncer(tmp_path, postgres_url, "statement") as url,
        pytest.raises(StateUnavailable) as refused,
    ):
        asyncio.run(start(url))

    assert "statement pooling" in str(refused.value)
    assert "\n" not in str(refused.value)
