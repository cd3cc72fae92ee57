from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.edit import Upload
from gateway.uploads.spool import Spool, SpoolMemory
from gateway.upstream import payload
from gateway.upstream.payload import payload_of
from gateway.wire.json_writer import JsonBody


def upload_in(spool: Spool, data: bytes) -> Upload:
    upload = Upload("image[]", "digest", spool.size, len(data), "image/png")
    spool.append(data)
    return upload


async def sent(body: JsonBody, document: dict[str, object], spool: Spool) -> bytes:
    made = payload_of(body.encode(document), spool)
    text = b"".join([bytes(chunk) async for chunk in made.chunks])
    assert len(text) == made.length
    return text


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
async def test_the_length_of_base64_is_known_before_it_is_coded(pictures: list[bytes]) -> None:
    with Spool() as spool:
        body = JsonBody()
        urls = [body.data_url(upload_in(spool, picture)) for picture in pictures]
        document = json.loads(await sent(body, {"prompt": 'a "quoted" ☂', "images": urls}, spool))
    coded = [base64.b64encode(picture).decode() for picture in pictures]
    assert document["images"] == [f"data:image/png;base64,{each}" for each in coded]


@pytest.mark.parametrize("in_memory", [True, False])
async def test_pieces_of_any_size_make_one_text(
    monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    monkeypatch.setattr(payload, "_BASE64_CHUNK_BYTES", 7)
    picture = bytes(range(256)) * 300
    with Spool(SpoolMemory(1 << 20 if in_memory else 1)) as spool:
        spool.append(b"something before it")
        upload = upload_in(spool, picture)
        if not in_memory:
            await spool.spill()
        body = JsonBody()
        document = json.loads(await sent(body, {"data": body.base64(upload)}, spool))
    assert base64.b64decode(document["data"]) == picture
