"""Long work over HTTP: nobody waits for ever, nothing is done twice, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.api.admin.background_jobs import MOST_JOBS, BackgroundJobs
from gateway.cache.result_store import Progress
from gateway.model.errors import Refusal


class Job:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()
        self.broken_off = False

    async def work(self, progress: Progress) -> str:
        self.begun += 1
        progress(3, 10)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.broken_off = True
            raise
        return "done"


@pytest.fixture
async def jobs() -> AsyncIterator[BackgroundJobs]:
    jobs = BackgroundJobs(patience_seconds=0.02)
    yield jobs
    await jobs.close()


async def test_who_asks_is_told_how_far_it_is_and_the_work_goes_on(jobs: BackgroundJobs) -> None:
    job = Job()
    chore = await jobs.wait("verify", job.work)

    assert chore.result is None
    assert (chore.done, chore.total) == (3, 10)
    job.go_on.set()
    assert await chore.task == "done"


async def test_who_asks_for_the_same_meanwhile_waits_for_the_same(jobs: BackgroundJobs) -> None:
    job = Job()
    first = await jobs.wait("verify", job.work)
    second = asyncio.create_task(jobs.wait("verify", job.work))
    await asyncio.sleep(0)
    job.go_on.set()

    assert (await second) is first
    assert first.result == "done"
    assert job.begun == 1


async def test_what_ended_meanwhile_is_kept_for_who_asks_again_and_then_forgotten(
    jobs: BackgroundJobs,
) -> None:
    job = Job()
    chore = await jobs.wait("verify", job.work)
    job.go_on.set()
    await chore.task

    assert (await jobs.wait("verify", job.work)) is chore
    assert (await jobs.wait("verify", job.work)) is not chore
    assert job.begun == 2


async def test_other_work_is_begun_beside_it(jobs: BackgroundJobs) -> None:
    first, second = Job(), Job()
    await jobs.wait("verify", first.work)
    await jobs.wait("purge", second.work)

    assert (first.begun, second.begun) == (1, 1)


async def test_what_goes_wrong_is_told_to_who_asked(jobs: BackgroundJobs) -> None:
    async def break_down(_: Progress) -> str:
        raise OSError("the disk is gone")

    chore = await jobs.wait("verify", break_down)
    with pytest.raises(OSError, match="the disk is gone"):
        _ = chore.result


async def test_closing_breaks_off_what_goes_on(jobs: BackgroundJobs) -> None:
    job = Job()
    await jobs.wait("verify", job.work)
    await jobs.close()

    assert job.broken_off


async def test_no_more_than_a_number_run_at_once(jobs: BackgroundJobs) -> None:
    """A team's token may name any number of results to purge, each of them a look at all."""
    each = [Job() for _ in range(MOST_JOBS + 1)]
    for number, job in enumerate(each[:-1]):
        await jobs.wait(number, job.work)
    with pytest.raises(Refusal) as refused:
        await jobs.wait("one more", each[-1].work)
    each[0].go_on.set()
    await jobs.wait(0, each[0].work)
    await jobs.wait("one more", each[-1].work)

    assert refused.value.code == "overloaded"
    assert [job.begun for job in each] == [1] * len(each)
