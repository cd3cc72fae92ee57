"""A backup's file: whole and nobody else's, or not there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from gateway.database.backup import BackupWriter, open_backup
from gateway.database.copying import CopiedTable, IncompleteBackup

PARTS = [
    CopiedTable("notes", ["name", "body", "at_ms"], [["ä\n", "{}", 2**62], ["b", "", 0]]),
    CopiedTable("tokens", ["id", "revoked_ms"], [["t", None]]),
]
ROWS = {"notes": 2, "tokens": 1, "ledger": 0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.backup"
    writer = BackupWriter(path)
    writer.begin(3)
    writer.add(PARTS[1])
    writer.begin(7)  # read anew: what came before counts no more
    for part in PARTS:
        writer.add(part)
    assert not path.exists()
    writer.finish(ROWS)
    return path


def test_what_is_read_is_what_was_written_as_often_as_it_is_read(file: Path) -> None:
    backup = open_backup(file)
    assert backup.schema == 7
    for _ in range(2):
        assert list(backup.parts()) == PARTS
        assert backup.rows() == ROWS


def test_it_is_its_owner_s_alone_and_the_only_file(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_what_is_given_up_leaves_the_backup_before_it(file: Path) -> None:
    before = file.read_bytes()
    writer = BackupWriter(file)
    writer.begin(8)
    writer.give_up()
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == before


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_not_whole(file: Path, kept: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(IncompleteBackup):
        _read(file)


def test_a_file_whose_last_lines_are_missing_is_not_whole(file: Path) -> None:
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(IncompleteBackup, match="ends before"):
        _read(file)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "no json", json.dumps({"backup": "x", "format": 1, "schema": 1})]
)
def test_another_file_is_no_backup(tmp_path: Path, text: str) -> None:
    other = tmp_path / "other"
    other.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(IncompleteBackup):
        open_backup(other)
    other.write_text(text)
    with pytest.raises(IncompleteBackup):
        open_backup(other)


def test_what_was_left_beside_it_is_neither_followed_nor_kept_open(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("somebody else's")
    (tmp_path / ".state.backup.partial").symlink_to(elsewhere)
    writer = BackupWriter(tmp_path / "state.backup")
    writer.begin(7)
    writer.finish({})
    assert (tmp_path / "state.backup").stat().st_mode & 0o777 == 0o600
    assert elsewhere.read_text() == "somebody else's"


@pytest.mark.parametrize(
    "part",
    [
        {"table": "ledger", "columns": [7], "rows": []},
        {"table": ["ledger"], "columns": ["id"], "rows": []},
        {"table": "ledger", "columns": [], "rows": [[]]},
        {"table": "ledger", "columns": ["id"], "rows": [["a", "b"]]},
        {"table": "ledger", "columns": ["id"], "rows": ["a"]},
        {"table": "ledger", "columns": ["id"], "rows": 7},
        {"table": "ledger", "columns": ["cost_nanos"], "rows": [[0.5]]},
        {"table": "ledger", "columns": ["cost_nanos"], "rows": [[True]]},
        {"table": "ledger", "columns": ["id"], "rows": [[{"a": 1}]]},
    ],
)
def test_what_is_no_rows_of_a_table_is_not_whole(tmp_path: Path, part: object) -> None:
    head = {"backup": "image-edit-gateway", "format": 1, "schema": 7}
    file = tmp_path / "made-up"
    file.write_bytes(gzip.compress(f"{json.dumps(head)}\n{json.dumps(part)}\n".encode()))
    with pytest.raises(IncompleteBackup, match="damaged"):
        _read(file)


def test_a_file_that_is_nested_too_deep_is_no_backup(tmp_path: Path) -> None:
    file = tmp_path / "deep"
    file.write_bytes(gzip.compress(b"[" * 200_000))
    with pytest.raises(IncompleteBackup):
        open_backup(file)


def _read(file: Path) -> None:
    backup = open_backup(file)
    list(backup.parts())
    backup.rows()
