"""A statement's file comes from outside: what is wrong with it is one line, soon."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gateway.ledger.statements.file import MOST_LINE, Unreadable, read


def refusal_of(folder: Path, text: str) -> str:
    file = folder / "bill"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Unreadable) as refused:
        list(read(file, ("time", "cost_usd")))
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("time,cost_usd," + "x" * MOST_LINE, "line 1 is longer", id="endless header"),
        pytest.param("time,cost_usd\n" + 2 * "x" * MOST_LINE, "line 2 is longer", id="a line"),
        pytest.param("[" * 200_000, "nested too deep", id="deep JSON"),
        pytest.param('{"a":' * 200_000, "nested too deep", id="deep objects"),
        pytest.param(json.dumps([dict.fromkeys(map(str, range(301)))]), "301 members", id="wide"),
        pytest.param(
            json.dumps([{str(each): dict.fromkeys("abc", 1) for each in range(101)}]),
            "303 members",
            id="wide within",
        ),
    ],
)
def test_what_would_fill_the_memory_is_not_read(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal_of(tmp_path, text)


def test_columns_without_number_are_looked_through_at_once(tmp_path: Path) -> None:
    names = ",".join(f"{number:x}" for number in range(150_000))
    begun = time.process_time()
    assert len(refusal_of(tmp_path, names)) < 1_000
    assert time.process_time() - begun < 20  # each beside each: minutes


def test_a_column_s_name_does_not_move_the_terminal_s_cursor(tmp_path: Path) -> None:
    told = refusal_of(tmp_path, "\x1b[2Jok,when\n")
    assert "\x1b" not in told
    assert "when" in told
