"""The head of an answer leaves together with its body, and nothing waits for longer than a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gateway.server.protocol.write_coalescing import SMALL_BYTES, WriteCoalescing

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Line(asyncio.Transport):
    """Takes down what would be handed to the system, one item a call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.calls.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def joined(line: Line) -> WriteCoalescing:
    return WriteCoalescing(line, asyncio.get_running_loop(), line.close)


async def test_a_head_waits_for_its_body() -> None:
    line = Line()
    writer = joined(line)
    body = bytes(SMALL_BYTES * 2)
    writer.write(HEAD)
    assert line.calls == []
    writer.write(body)

    assert line.calls == [HEAD + body]
    await asyncio.sleep(0)
    assert len(line.calls) == 1


async def test_what_nothing_follows_leaves_at_the_end_of_the_turn() -> None:
    line = Line()
    joined(line).write(HEAD)
    await asyncio.sleep(0)

    assert line.calls == [HEAD]


async def test_a_large_piece_waits_for_nothing() -> None:
    line = Line()
    joined(line).write(bytes(SMALL_BYTES))

    assert line.calls == [bytes(SMALL_BYTES)]


async def test_what_waits_leaves_before_the_connection_closes() -> None:
    line = Line()
    writer = joined(line)
    writer.write(HEAD)
    writer.close()

    assert line.calls == [HEAD]
    assert writer.is_closing()
    await asyncio.sleep(0)
    assert line.calls == [HEAD]


@pytest.mark.parametrize("further", [b"", b"small", bytes(SMALL_BYTES)])
async def test_nothing_is_written_to_a_connection_that_was_closed_meanwhile(further: bytes) -> None:
    line = Line()
    writer = joined(line)
    writer.write(HEAD)
    line.close()
    writer.write(further)
    await asyncio.sleep(0)

    assert line.calls == []
