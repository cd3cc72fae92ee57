"""No page reads a big table: what the state does for one does not grow with keys × days.

SQLite counts the instructions of its statements. To add up a row costs some 25 of them, to look at
one in vain 4.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from gateway.database.database import Value
from gateway.database.sqlite.connection import SqliteConnection
from gateway.emulator import EmulatorServer
from tests.console.busy_state import busy_days
from tests.console.visiting import console_settings, signed_in
from tests.support.serving import make_key, serving

TEAMS, KEYS, DAYS = 5, 100, 62
ROLLUPS, CALLS = 4 * KEYS * DAYS, KEYS * DAYS
PART = 100
"""SQLite reports each time it has run so many instructions."""
MOST = {
    "/console": 2 * ROLLUPS,
    "/console/spend": 2 * ROLLUPS,
    "/console/spend?by=key": 2 * ROLLUPS,
    "/console/spend?by=model": 2 * ROLLUPS,
    "/console/spend?by=day": 2 * ROLLUPS,
    "/console/teams": CALLS,
    "/console/teams/design": CALLS,
    "/console/budgets": CALLS,
    "/console/pictures": CALLS,
    "/console/requests": CALLS,
}
"""The most instructions of a page."""


class Statements:
    """The statements that the state runs on threads which start from now on."""

    def __init__(self) -> None:
        self.run: list[tuple[str, Sequence[Value]]] = []

    def called(self, frame: FrameType, event: str, argument: object) -> None:
        if not threading.current_thread().name.startswith("state-"):
            sys.setprofile(None)
        elif event == "call" and frame.f_code is SqliteConnection.fetch.__code__:
            self.run.append((frame.f_locals["sql"], frame.f_locals["values"]))

    def instructions(self, state: sqlite3.Connection) -> int:
        """What it takes to run them again."""
        parts = 0

        def count() -> int:
            nonlocal parts
            parts += 1
            return 0

        state.set_progress_handler(count, PART)
        for sql, values in self.run:
            if sql.lstrip().startswith(("SELECT", "WITH")):
                numbered = {str(number): value for number, value in enumerate(values, 1)}
                state.execute(sql, numbered).fetchall()
        state.set_progress_handler(None, 0)
        return parts * PART


@pytest.fixture
def statements() -> Iterator[Statements]:
    found = Statements()
    threading.setprofile(found.called)
    yield found
    threading.setprofile(None)


def test_a_page_looks_at_a_part_of_the_rows(
    tmp_path: Path, emulator: EmulatorServer, statements: Statements
) -> None:
    settings = console_settings(tmp_path, emulator, {"console": {"gallery": True}})
    make_key(settings)
    found: dict[str, int] = {}
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as state:
        for statement in busy_days(teams=TEAMS, keys=KEYS, days=DAYS, calls=1):
            state.execute(statement)
        with serving(settings) as running, signed_in(running) as visiting:
            for path in MOST:
                statements.run.clear()
                assert visiting.get(path).status_code == 200
                found[path] = statements.instructions(state)
    assert min(found.values()) > 0, found
    assert {path: number for path, number in found.items() if number > MOST[path]} == {}, found
