"""Sessions as rows, in both databases: found by a cookie, ended by time, sign-out or renewal."""

from __future__ import annotations

from functools import partial

from gateway.accounts.tables.audit import Author, list_audit
from gateway.console.tables.sessions import (
    SessionRecord,
    begin_session,
    end_session,
    find_session,
)
from gateway.database.database import Database

FIRST = SessionRecord("cookie-1", "secret-1", "token:ada", 1_000, 2_000)
SECOND = SessionRecord("cookie-2", "secret-1", "token:ada", 1_500, 2_500)


async def found(database: Database, *cookies: str, now_ms: int = 1_600) -> list[str]:
    records = [
        await database.read(partial(find_session, session_hash=cookie, now_ms=now_ms))
        for cookie in cookies
    ]
    return [record.hash for record in records if record]


async def test_a_session_is_found_until_it_ends(database: Database) -> None:
    await database.write(partial(begin_session, session=FIRST, replaces=""))

    assert await found(database, "cookie-1", "another", now_ms=1_999) == ["cookie-1"]
    assert await found(database, "cookie-1", now_ms=2_000) == []


async def test_a_sign_in_replaces_the_session_of_the_browser(database: Database) -> None:
    await database.write(partial(begin_session, session=FIRST, replaces=""))
    await database.write(partial(begin_session, session=SECOND, replaces="cookie-1"))

    assert await found(database, "cookie-1", "cookie-2") == ["cookie-2"]


async def test_signing_out_twice_is_one_line_of_the_audit(database: Database) -> None:
    await database.write(partial(begin_session, session=FIRST, replaces=""))
    for _ in range(2):
        by = Author("token:ada", 1_700)
        await database.write(partial(end_session, session_hash="cookie-1", by=by))

    assert await found(database, "cookie-1") == []
    actions = [row.action for row in await database.read(list_audit)]
    assert actions == ["console.sign_in", "console.sign_out"]
