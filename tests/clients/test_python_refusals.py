"""Every refusal that can be provoked, as the newest openai-python tells its user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.emulator import EmulatorServer
from tests.clients import python_client
from tests.clients.conftest import Prompt
from tests.clients.refusals import OWN, UPSTREAM, Case, arrange, check, command_of
from tests.support.serving import Served

ALL = [pytest.param(case, id=case.name) for case in (*OWN, *UPSTREAM)]
QUICK = [param for param, case in zip(ALL, (*OWN, *UPSTREAM), strict=True) if not case.may_retry]
BUSY = Case("upstream_busy", 503, "busy", fault={"status": 503, "retry_after": 0}, may_retry=True)


@pytest.mark.parametrize("case", ALL)
def test_a_refusal_arrives_as_the_right_exception_and_is_retried_only_where_it_may_be(
    refusing: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt, case: Case
) -> None:
    arrange(case, refusing, emulator, new_prompt())
    command = {"do": "edit", "base_url": refusing.base_url, "folder": str(pictures)}
    seen = python_client.carried_out(command | command_of(case, new_prompt()))

    check(case, seen, emulator, "APIStatusError")


@pytest.mark.parametrize("case", [*QUICK, pytest.param(BUSY, id=BUSY.name)])
async def test_the_async_client_gets_the_same(
    refusing: Served, emulator: EmulatorServer, pictures: Path, new_prompt: Prompt, case: Case
) -> None:
    arrange(case, refusing, emulator, new_prompt())
    retry_counts: list[str] = []

    async def count(request: Any) -> None:
        retry_counts.append(request.headers["x-stainless-retry-count"])

    fields: dict[str, Any] = {"model": "deepshi-image-1", "prompt": new_prompt(), **case.fields}
    async with openai.AsyncOpenAI(
        base_url=refusing.base_url,
        api_key=case.key,
        max_retries=1 if case.may_retry else 2,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [count]}, verify=False),
    ) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.images.edit(
                image=[pictures / name for name in case.images],
                extra_headers=dict(case.headers),
                **fields,
            )

    seen = {"error": python_client.seen_of(caught.value), "tries": len(retry_counts)}
    check(case, seen, emulator, "APIStatusError")
