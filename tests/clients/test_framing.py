"""How requests are told apart on one connection, whatever a client sends."""

from __future__ import annotations

import socket
import time

from tests.support.serving import KEY, Served


def test_a_body_is_never_taken_for_another_request(lasting: Served) -> None:
    key = b"Host: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
    body = b"GET /v1/models HTTP/1.1\r\n" + key + b"\r\n"
    head = (
        b"POST /v1/images/edits HTTP/1.1\r\n" + key + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    host, port = lasting.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head)
        time.sleep(0.2)  # in a packet of its own
        connection.sendall(body)
        answers = _all_of(connection)

    assert answers.count(b"HTTP/1.1 ") == 1, answers[:2000]
    assert b'"invalid_multipart"' in answers


def _all_of(connection: socket.socket) -> bytes:
    """What comes until nothing more does for a second."""
    connection.settimeout(1.0)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except TimeoutError:
        return received
    return received
