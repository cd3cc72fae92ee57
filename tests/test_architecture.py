"""What ARCHITECTURE.md says is so: the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("ARCHITECTURE.md").read_text()


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)

    assert len(named) > 20
    assert [path for path in named if not Path(path).is_file()] == []


def test_every_threat_has_something_that_stops_it_and_a_test_that_shows_so() -> None:
    section = PAGE.partition("## Threats, and what stops them")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]

    assert len(rows) > 10
    for _, wish, stopped_by, shown_by in rows:
        assert wish.strip()
        assert stopped_by.strip()
        assert "`tests/" in shown_by
