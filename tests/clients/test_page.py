"""docs/clients.md says of every refusal what the tests of the libraries have seen."""

from __future__ import annotations

from pathlib import Path

from tests.clients.refusals import CLASSES, Refused
from tests.clients.test_situations import CASES

PAGE = Path("docs/clients.md")
HEAD = ("code", "status", "exception", "requests of an SDK that may retry once", "upstream calls")


def rows() -> list[tuple[str, ...]]:
    """One for each code and status, in the order of the statuses."""
    found = {(case.status, case.code): case for case in reversed(CASES)}
    return [_row(found[key]) for key in sorted(found)]


def _row(case: Refused) -> tuple[str, ...]:
    exception = CLASSES.get(case.status, "APIStatusError (Node: APIError)")
    tries = "2" if case.may_retry else "1"
    return f"`{case.code}`", str(case.status), exception, tries, str(case.calls)


def table() -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def test_the_page_has_the_table_of_what_was_seen() -> None:
    assert table() in PAGE.read_text(), f"put this into {PAGE}:\n{table()}"
