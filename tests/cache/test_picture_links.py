"""The keys of links in the state: one for each day, the same for every process."""

from __future__ import annotations

import asyncio

from gateway.cache.picture_links import BadLink, PictureId, PictureLinks
from gateway.cache.rules.entry import Entry
from gateway.cache.rules.picture_link import DAY_SECONDS
from gateway.cache.tables import link_keys
from gateway.database.database import Database, StateUnavailable

DAY_MS = DAY_SECONDS * 1000
TODAY = 20_000


class Now:
    """A clock that stands still; `links` of one share it."""

    def __init__(self) -> None:
        self.ms = TODAY * DAY_MS

    def __call__(self) -> int:
        return self.ms


def links_of(
    database: Database, now: Now, *, seconds: float = 3_600, url: str = "https://here"
) -> PictureLinks:
    failures: list[str] = []
    return PictureLinks(
        database=database,
        public_url=url,
        link_seconds=seconds,
        now_ms=now,
        on_failure=lambda part, _: failures.append(part),
    )


def entry(now: Now) -> Entry:
    return Entry(
        key=f"v2-{'ab' * 32}",
        team="t",
        key_id="k",
        model="m",
        cost_nanos=1,
        created_ms=now.ms,
        expires_ms=now.ms + 30 * DAY_MS,
        body_digest="cd" * 32,
        body_bytes=1,
        content_type="application/json",
        request_id="r",
        upstream_request_id="u",
    )


def is_valid(links: PictureLinks, url: str) -> bool:
    name, _, query = url.rpartition("/")[2].partition("?")
    try:
        links.check(PictureId.parse(name), "image/png", query)
    except BadLink:
        return False
    return True


async def test_processes_that_start_at_once_sign_with_the_same_key(database: Database) -> None:
    now = Now()
    every = [links_of(database, now) for _ in range(4)]
    await asyncio.gather(*(each.refresh() for each in every))

    urls = [each.url_of(entry(now), 0, "image/png", "png") for each in every]
    assert len(set(urls)) == 1
    assert urls[0].startswith("https://here/v1/pictures/v2-")
    assert all(is_valid(each, urls[0]) for each in every)


async def test_a_key_is_there_before_the_first_link_that_needs_it(database: Database) -> None:
    """So that a process that refreshed a while ago accepts the link of one that has just done."""
    now = Now()
    now.ms += DAY_MS - 2 * 3_600_000
    early = links_of(database, now)
    await early.refresh()
    now.ms += 3_500_000
    late = links_of(database, now)
    await late.refresh()

    assert is_valid(early, late.url_of(entry(now), 0, "image/png", "png"))


async def test_keys_of_days_that_are_over_are_deleted(database: Database) -> None:
    now = Now()
    links = links_of(database, now, seconds=3 * DAY_SECONDS)
    await links.refresh()
    before = await database.read(link_keys.read_keys)
    now.ms += 2 * DAY_MS
    await links.refresh()
    await database.write(links.sweep)
    after = await database.read(link_keys.read_keys)

    assert list(before) == [TODAY + at for at in range(4)]
    assert list(after) == [TODAY + at for at in range(2, 6)]
    assert before[TODAY + 2] == after[TODAY + 2]
    assert len({*before.values(), *after.values()}) == 6
    assert all(len(secret) == 64 for secret in before.values())


async def test_a_link_is_valid_for_its_seconds(database: Database) -> None:
    now = Now()
    links = links_of(database, now, seconds=10)
    await links.refresh()
    url = links.url_of(entry(now), 0, "image/png", "png")
    now.ms += 9_999
    assert is_valid(links, url)
    now.ms += 1
    assert not is_valid(links, url)


async def test_without_a_public_url_there_is_no_key_and_no_link_is_valid(
    database: Database,
) -> None:
    now = Now()
    linking, other = links_of(database, now), links_of(database, now, url="")
    await other.refresh()
    assert await database.read(link_keys.read_keys) == {}
    await linking.refresh()

    assert not is_valid(other, linking.url_of(entry(now), 0, "image/png", "png"))


async def test_links_are_still_valid_while_the_state_is_away(database: Database) -> None:
    now, failures = Now(), list[str]()

    class Away:
        async def read(self, operation: object) -> object:
            raise StateUnavailable("away")

    links = links_of(database, now)
    await links.refresh()
    links.database, links.on_failure = Away(), lambda part, _: failures.append(part)  # type: ignore[assignment]
    url = links.url_of(entry(now), 0, "image/png", "png")
    await links.refresh()

    assert failures == ["links"]
    assert is_valid(links, url)


async def test_the_first_key_of_a_day_stays(database: Database) -> None:
    first = await database.write(lambda tx: link_keys.add_keys(tx, {1: "a", 2: "b"}))
    second = await database.write(lambda tx: link_keys.add_keys(tx, {2: "c", 3: "d"}))

    assert first == {1: "a", 2: "b"}
    assert second == {1: "a", 2: "b", 3: "d"}
