"""A DNS server of a few names: `python -m tests.faults_of_many.names ADDRESS NAME=ADDRESS …`."""

from __future__ import annotations

import socket
import struct
import sys

_A = 1


def answer(query: bytes, names: dict[str, str]) -> bytes:
    """One A record that nobody may keep; for other types none, for other names NXDOMAIN."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    question = query[12 : at + 5]
    (kind,) = struct.unpack_from("!H", query, at + 1)
    address = names.get(".".join(labels))
    record = b""
    if address and kind == _A:
        record = struct.pack("!HHHIH", 0xC00C, _A, 1, 0, 4) + socket.inet_aton(address)
    flags = 0x8580 if address else 0x8583
    counts = struct.pack("!HHHHH", flags, 1, int(bool(record)), 0, 0)
    return query[:2] + counts + question + record


def main(address: str, *pairs: str) -> None:
    names = dict(pair.split("=") for pair in pairs)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((address, 53))
        while True:
            query, client = line.recvfrom(4096)
            line.sendto(answer(query, names), client)


if __name__ == "__main__":
    main(*sys.argv[1:])
