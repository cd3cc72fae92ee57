from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext

import pytest

from gateway.upstream import model_catalogue
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules.catalogue_parser import parse


async def test_a_list_of_models_that_drips_does_not_hold_up_who_names_an_unknown_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_catalogue, "ABSENT_WAIT_SECONDS", 0.05)
    never, failures = asyncio.Event(), list[str]()

    async def fetch() -> bytes:
        await never.wait()
        raise OSError("the answer never ended")

    async def keep(body: bytes) -> None:
        raise AssertionError("nothing to keep")

    catalogue = Catalogue(
        fetch=fetch,
        keep=keep,
        overrides={},
        clock=asyncio.get_running_loop().time,
        on_failure=failures.append,
        on_models=lambda _: None,
    )
    catalogue.load(b'{"data": [{"id": "known"}]}')
    async with asyncio.timeout(2):
        assert [await catalogue.exists(name) for name in ("known", "other", "third")] == [
            True,
            False,
            False,
        ]
    never.set()
    assert not await catalogue.refresh()
    assert len(failures) == 1


@pytest.mark.parametrize(
    "body", [b"[" * 150_000, b'{"data": [' + b"1," * 300_000, b'{"data": [' + b'{"":1},' * 70_000]
)
def test_a_list_of_too_many_values_or_levels_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"too many values|nested too deep"):
        parse(body)


@pytest.mark.parametrize(("count", "parsed"), [(5_000, True), (5_001, False)])
def test_a_list_of_too_many_models_is_refused(count: int, parsed: bool) -> None:
    body = json.dumps({"data": [{"id": f"m{n}"} for n in range(count)]}).encode()
    with nullcontext() if parsed else pytest.raises(ValueError, match="more than 5000 models"):
        assert len(parse(body).facts) == count
