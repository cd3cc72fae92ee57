"""The bucket's own promises; what every store promises is in test_results_contract.py."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import obstore
import pytest

from gateway.cache.disk import DiskStore
from gateway.cache.object_store import BucketStore, open_bucket
from gateway.cache.result_store import StoreFailure
from gateway.cache.rules.entry import pack_head
from tests.support.buckets import make_bucket, s3_server, set_credentials, url_of
from tests.support.results import LARGE, NOW_MS, Clock, entry_of

MAX_BYTES = 50_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def url(server: str) -> str:
    return url_of(server, make_bucket(server))


@contextlib.asynccontextmanager
async def machine(
    url: str, folder: Path, timeout_seconds: float = 10
) -> AsyncIterator[BucketStore]:
    """A machine of its own: a bucket that it shares with others, a disk that it doesn't."""
    clock = Clock()
    local = DiskStore(folder, MAX_BYTES, now_ms=clock)
    results = BucketStore(url, local, timeout_seconds, clock)
    yield results
    await results.close()


class Server:
    """A server that counts requests and answers each with the same bytes, once it may."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.requests = 0
        self.connections: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        connection.add_done_callback(lambda _: writer.transport.abort())
        self.connections.add(connection)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                self.asked.set()
                await self.may_answer.wait()
                writer.write(self.answer)


@contextlib.asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[tuple[Server, str]]:
    """A server that answers so, or never where `answer` is None; and a URL to a bucket on it."""
    served = Server(answer or b"")
    if answer:
        served.may_answer.set()
    server = await asyncio.start_server(served.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.MonkeyPatch.context() as environment:
        set_credentials(environment)
        yield served, url_of(f"http://127.0.0.1:{port}", "b")
    server.close()
    for connection in served.connections:
        connection.cancel()
    await asyncio.gather(*served.connections, return_exceptions=True)
    await asyncio.sleep(0.01)  # the transports close in the loop's next turns


def found(content: bytes) -> bytes:
    return (
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n'
        b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
    )


async def test_what_one_machine_stores_another_gets(url: str, tmp_path: Path) -> None:
    async with machine(url, tmp_path / "a") as a, machine(url, tmp_path / "b") as b:
        await a.put(entry_of(LARGE), LARGE)
        assert await b.get("v1-00") == (entry_of(LARGE), LARGE)


async def test_what_came_from_the_bucket_is_then_on_the_machine(url: str, tmp_path: Path) -> None:
    async with machine(url, tmp_path / "a") as a:
        await a.put(entry_of(LARGE), LARGE)
    async with machine(url, tmp_path / "b") as b:
        assert await b.get("v1-00")
        await obstore.delete_async(open_bucket(url, 10), "v1-00")
        assert await b.get("v1-00")


async def test_a_folder_of_a_bucket_is_apart_from_it(url: str, tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "answers", MAX_BYTES, now_ms=Clock())
    answers = BucketStore(url, disk, 10, Clock(), folder="answers")
    async with machine(url, tmp_path / "a") as a:
        await answers.put(entry_of(LARGE), LARGE)
        assert await a.get("v1-00") is None
        assert [entry async for entry in a.entries()] == []
        assert await a.purge(lambda _: True) == 0
        await answers.drop_local_copy("v1-00")
        assert await answers.get("v1-00") == (entry_of(LARGE), LARGE)
    await answers.close()


async def test_a_refresh_reaches_another_machine_once_it_forgets_its_copy(
    url: str, tmp_path: Path
) -> None:
    async with machine(url, tmp_path / "a") as a, machine(url, tmp_path / "b") as b:
        await a.put(entry_of(LARGE), LARGE)
        await b.get("v1-00")
        fresh = entry_of(LARGE[::-1], created_ms=NOW_MS + 1_000)
        await a.put(fresh, LARGE[::-1])
        assert await b.drop_local_copy("v1-00", older_than_ms=fresh.created_ms)
        assert await b.get("v1-00") == (fresh, LARGE[::-1])
        assert await a.drop_local_copy("v1-00", older_than_ms=fresh.created_ms)
        assert await a.get("v1-00") == (fresh, LARGE[::-1])


async def test_a_purge_deletes_in_the_bucket_and_on_the_machine(url: str, tmp_path: Path) -> None:
    async with machine(url, tmp_path / "a") as a:
        for number in range(20):
            await a.put(entry_of(LARGE, f"v1-{number:02}"), LARGE)
        await obstore.delete_async(open_bucket(url, 10), "v1-07")  # only on the machine now
        assert await a.purge(lambda entry: True) == 20
        assert await a.get("v1-07") is None
        assert await a.get("v1-08") is None


async def test_many_who_ask_for_one_result_fetch_it_once(tmp_path: Path) -> None:
    content = pack_head(entry_of(LARGE)) + LARGE
    async with serving(found(content)) as (served, url), machine(url, tmp_path / "a") as a:
        served.may_answer.clear()
        reads = [asyncio.create_task(a.get("v1-00")) for _ in range(50)]
        await served.asked.wait()
        await asyncio.sleep(0.2)  # for others that might ask
        served.may_answer.set()
        stored = await asyncio.gather(*reads)
        assert all(one and one.body == LARGE for one in stored)
        assert served.requests == 1


async def test_a_client_that_leaves_does_not_end_the_fetch_for_others(tmp_path: Path) -> None:
    content = pack_head(entry_of(LARGE)) + LARGE
    async with serving(found(content)) as (served, url), machine(url, tmp_path / "a") as a:
        served.may_answer.clear()
        leaving = asyncio.create_task(a.get("v1-00"))
        staying = asyncio.create_task(a.get("v1-00"))
        await served.asked.wait()
        leaving.cancel()
        served.may_answer.set()
        assert await staying


async def test_a_fetch_under_way_does_not_bring_back_what_is_forgotten(tmp_path: Path) -> None:
    content = pack_head(entry_of(LARGE)) + LARGE
    async with serving(found(content)) as (served, url), machine(url, tmp_path / "a") as a:
        served.may_answer.clear()
        getting = asyncio.create_task(a.get("v1-00"))
        await served.asked.wait()
        await a.drop_local_copy("v1-00")
        served.may_answer.set()
        await getting
        await a.get("v1-00")
        assert served.requests == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"IEG1",
        b"something else entirely",
        pack_head(entry_of(LARGE)) + LARGE[:-1],
        pack_head(entry_of(LARGE))[:-1],
        pack_head(entry_of(LARGE, "v1-other")) + LARGE,
    ],
)
async def test_an_object_that_is_no_whole_entry_is_a_miss_and_deleted(
    url: str, tmp_path: Path, content: bytes
) -> None:
    bucket = open_bucket(url, 10)
    await obstore.put_async(bucket, "v1-00", content)
    async with machine(url, tmp_path / "a") as a:
        assert [entry.key async for entry in a.entries()] in ([], ["v1-00"], ["v1-other"])
        assert await a.get("v1-00") is None
        assert a.counts().damaged == 1
        assert (await a.stats()).entries == 0


async def test_a_bucket_that_never_answers_costs_a_time_out_and_the_machine_still_stores(
    tmp_path: Path,
) -> None:
    async with serving(None) as (_, url), machine(url, tmp_path / "a", 0.2) as a:
        before = time.monotonic()
        assert await a.get("v1-00") is None
        assert await a.put(entry_of(LARGE), LARGE)
        assert await a.get("v1-00")
        assert time.monotonic() - before < 2
        assert a.counts().failures == {StoreFailure.TIMEOUT: 2}
        assert a.failure is StoreFailure.TIMEOUT


async def test_while_a_bucket_is_down_requests_do_not_wait_for_it(tmp_path: Path) -> None:
    async with serving(None) as (served, url), machine(url, tmp_path / "a", 0.1) as a:
        await asyncio.gather(*(a.get(f"v1-{number}") for number in range(5)))
        asked = served.requests
        before = time.monotonic()
        for number in range(50):
            assert await a.get(f"v2-{number}") is None
        assert time.monotonic() - before < 1
        assert served.requests == asked


async def test_a_bucket_that_does_not_exist_is_named_as_trouble(
    server: str, tmp_path: Path
) -> None:
    async with machine(url_of(server, "no-such-bucket"), tmp_path / "a") as a:
        assert await a.put(entry_of(LARGE), LARGE)
        assert a.failure is StoreFailure.UNREACHABLE


async def test_a_refused_call_counts_as_denied(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with serving(refusal) as (_, url), machine(url, tmp_path / "a") as a:
        assert await a.get("v1-00") is None
        assert a.failure is StoreFailure.DENIED


async def test_it_works_again_once_the_bucket_does(tmp_path: Path) -> None:
    failing = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    async with serving(failing) as (served, url), machine(url, tmp_path / "a") as a:
        assert await a.get("v1-00") is None
        assert str(a.failure) == "unreachable"
        served.answer = found(pack_head(entry_of(LARGE)) + LARGE)
        assert await a.get("v1-00")
        assert a.failure is None


@pytest.mark.parametrize(
    "url",
    [
        "s3:pictures",
        "s3://",
        "ftp://pictures",
        "disk:var/cache",
        "s3://pictures?endpiont=http://x",
        "s3://pictures?secret_access_key=x",
        "az://pictures?account_name=a&account_key=x",
        "s3://pictures?endpoint=http://key:hidden@minio:9000",
    ],
)
def test_a_wrong_url_is_refused_saying_why(url: str) -> None:
    with pytest.raises(ValueError, match=r"bucket|may not stand") as refused:
        open_bucket(url, 2)
    assert "\n" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_each_scheme_opens_its_own_kind_of_store() -> None:
    kinds = {
        "s3://pictures/edits?region=eu-west-1": "S3Store",
        "gs://pictures/edits": "GCSStore",
        "az://pictures/edits?account_name=a&use_azure_cli=true": "AzureStore",
    }
    for url, kind in kinds.items():
        bucket = open_bucket(url, 2)
        assert type(bucket).__name__ == kind
        assert getattr(bucket, "prefix", None) == "edits"
