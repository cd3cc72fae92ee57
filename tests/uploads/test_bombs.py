"""Small uploads that would be huge if somebody opened them: the gateway never opens a picture."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.support.bodies import data_url, document, form, form_type, usual
from tests.support.serving import GatewayProcess, make_key, settings_for, tables_of
from tests.support.upstreams import Recording, recording_upstream

MEGABYTE = 2**20
WITHIN, BEYOND = 14_000, 20_000
"""Pixels a side, of which so many times so many are taken, and are not."""


def bomb(side: int) -> bytes:
    """A real PNG of one bit a pixel: some kilobytes, and hundreds of megabytes once decoded."""
    rows = zlib.compress((b"\x00" + bytes(-(-side // 8))) * side, 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recording]:
    with recording_upstream() as recording:
        yield recording


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, emulator_server: EmulatorServer, upstream: Recording
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("bombs")
    tables = tables_of(folder, emulator_server, {"upstream": {"base_url": upstream.url}})
    make_key(settings_for(folder, emulator_server))
    with GatewayProcess(tables, folder) as process:
        yield process


def held_bytes(gateway: GatewayProcess) -> int:
    """The most memory that the process has ever held."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("form_of", ["multipart", "json"])
def test_a_picture_that_would_be_huge_is_refused_by_its_header(
    gateway: GatewayProcess, upstream: Recording, form_of: str
) -> None:
    before = held_bytes(gateway)
    picture = bomb(BEYOND)
    if form_of == "json":
        images = [{"image_url": data_url(picture)}]
        body = document(model="deepshi-image-1", prompt="grey", images=images)
        kind = "application/json"
    else:
        body, kind = form(usual(picture)), form_type()
    with gateway.client() as client:
        answer = client.post("/v1/images/edits", content=body, headers={"content-type": kind})

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image_too_large")
    assert f"{BEYOND} × {BEYOND}" in answer.json()["error"]["message"]
    assert upstream.seen == []
    assert held_bytes(gateway) - before < 40 * MEGABYTE


def test_a_picture_within_bounds_is_passed_on_without_being_opened(
    gateway: GatewayProcess, upstream: Recording
) -> None:
    assert gateway.edit("warm up").status_code == 200
    upstream.seen.clear()
    before = held_bytes(gateway)
    picture = bomb(WITHIN)
    assert gateway.edit("grey", images=[picture]).status_code == 200

    ((_, _, files),) = upstream.seen
    upstream.seen.clear()
    assert [content for _, _, content in files] == [picture]
    assert held_bytes(gateway) - before < 40 * MEGABYTE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_before_it_is_read(
    gateway: GatewayProcess, upstream: Recording, encoding: str
) -> None:
    before = held_bytes(gateway)
    body = gzip.compress(bytes(100 * MEGABYTE))
    headers = {"content-type": form_type(), "content-encoding": encoding}
    with gateway.client() as client:
        answer = client.post("/v1/images/edits", content=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in answer.json()["error"]["message"]
    assert upstream.seen == []
    assert held_bytes(gateway) - before < 40 * MEGABYTE
