"""Which request heads are refused: too large ones, and those that two readers may read differently.

A proxy and a server that disagree where a request ends can be made to read a body as a further
request (request smuggling). Ambiguous heads are therefore refused. The parser accepts more than
HTTP (other protocol names, several spaces, bare line ends), so the request line is checked first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.model.errors import Refusal
from gateway.server.protocol.connection_limits import ConnectionLimits

REQUEST_LINE = re.compile(
    rb"(?:\r\n)*([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/[0-9]\.[0-9]\r\n"
)
"""Empty lines may come before it (RFC 9112, section 2.2)."""
UNFINISHED_REQUEST_LINE = re.compile(rb"(?:\r\n)*(?:\r|[-!#$%&'*+.^_`|~0-9A-Za-z][^\n]*)?")
UPGRADE = re.compile(rb"\r\nupgrade:[\t\x20-\x7e\x80-\xff]*(?=\r\n)", re.IGNORECASE)
ALLOWED = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
METHODS = frozenset(ALLOWED.split(b", "))
HTTP_VERSIONS = frozenset({"1.0", "1.1"})
LONGEST_LENGTH = 20
SINGLE_HEADERS = frozenset(
    {b"host", b"authorization", b"api-key", b"content-type", b"transfer-encoding"}
)
"""Headers whose first and last occurrence may differ, and which are read either way."""
HOST = re.compile(rb"(?:\[[0-9A-Fa-fv:.]+\]|[-._~!$&'()*+,;=%0-9A-Za-z]*)(?::[0-9]*)?")

Headers = Sequence[tuple[bytes, bytes]]
"""Lower-case names, and values."""


def head_length(received: bytes, limits: ConnectionLimits) -> int:
    """The length of the head with which `received` begins; 0 if it is incomplete.

    Raises a Refusal as soon as the head is too large, or its first line is no request line.
    """
    line = REQUEST_LINE.match(received)
    if not line and not UNFINISHED_REQUEST_LINE.fullmatch(received):
        raise malformed_request()
    found = received.find(b"\r\n\r\n", line.end() - 2) if line else -1
    length = found + 4 if found >= 0 else len(received)
    if length > limits.max_header_bytes or (
        received.count(b"\r\n", 0, length) > limits.max_header_lines + 2
    ):
        raise head_too_large(limits)
    if not line or found < 0:
        return 0
    if line[1] not in METHODS:
        raise Refusal(
            "method_not_allowed",
            f"The gateway implements no method {line[1][:20].decode()!r}; use one of "
            f"{ALLOWED.decode()}.",
            status_override=501,
        )
    if line[2] == b"*" and line[1] != b"OPTIONS":
        raise malformed_request()
    return length


def without_upgrade(head: bytes) -> bytes:
    """`head` without its Upgrade headers, which a server may ignore (RFC 9110, section 7.8).

    The parser would take the body for another protocol's and skip it.
    """
    return UPGRADE.sub(b"", head) if b"\r\nupgrade:" in head.lower() else head


def check_head(headers: Headers, version: str) -> int:
    """The Content-Length, 0 without one.

    Raises `bad_request` if another reader may see another end or target of the request.
    """
    sent: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in SINGLE_HEADERS and name in sent:
            raise _bad(f"The request has the header {name.decode()} more than once; send it once.")
        sent[name] = value
    if version not in HTTP_VERSIONS:
        raise _bad("Only HTTP/1.1 and HTTP/1.0 are supported.")
    encoding, length = sent.get(b"transfer-encoding"), sent.get(b"content-length", b"0")
    if encoding is not None and (encoding.lower() != b"chunked" or version == "1.0"):
        raise _bad(
            "Send the body with Transfer-Encoding: chunked by HTTP/1.1, or with Content-Length."
        )
    if len(length) > LONGEST_LENGTH:
        raise _bad("The Content-Length is invalid; send the number of bytes of the body.")
    host = sent.get(b"host", b"" if version == "1.0" else None)
    if host is None:
        raise _bad("HTTP/1.1 requires the header Host; send the host of the requested URL in it.")
    if not HOST.fullmatch(host):
        raise _bad("The header Host is malformed; send the host, and the port after a colon.")
    return int(length)


def _bad(message: str) -> Refusal:
    return Refusal("bad_request", message)


def head_too_large(limits: ConnectionLimits) -> Refusal:
    """The refusal of a head over the limits."""
    return Refusal(
        "headers_too_large",
        f"The request's head is larger than {limits.max_header_lines} headers or "
        f"{limits.max_header_bytes} bytes; send fewer or shorter headers.",
    )


def malformed_request() -> Refusal:
    """The refusal of bytes that are not HTTP."""
    return Refusal("bad_request", "The request is not valid HTTP; check the client that sent it.")
