"""Which request heads are refused: too large ones, and those that two readers may read differently.

A proxy and a server that disagree where a request ends can be made to read a body as a further
request (request smuggling). Ambiguous heads are therefore refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.model.errors import Refusal
from gateway.server.protocol.connection_limits import ConnectionLimits

HTTP_VERSIONS = frozenset({"1.0", "1.1"})
LONGEST_LENGTH = 20
SINGLE_HEADERS = frozenset({b"host", b"authorization", b"content-type"})
"""Headers whose first and last occurrence may differ, and which are read either way."""

Headers = Sequence[tuple[bytes, bytes]]
"""Lower-case names, and values."""


def check_head(headers: Headers, version: str) -> None:
    """Raises `bad_request` if another reader may see another end of the request."""
    if why := _ambiguity(headers, version):
        raise Refusal("bad_request", why)


def _ambiguity(headers: Headers, version: str) -> str:
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    lengths = [value for name, value in headers if name == b"content-length"]
    repeated = {name for name, count in Counter(name for name, _ in headers).items() if count > 1}
    if _upgrades_with_a_body(headers):
        # The parser skips such a body as another protocol's; a later part of it would be read
        # as requests.
        return (
            "No other protocol is supported: send the body without an Upgrade header "
            "(with curl: --http1.1)."
        )
    if version not in HTTP_VERSIONS:
        return "Only HTTP/1.1 and HTTP/1.0 are supported."
    if encodings and (encodings != [b"chunked"] or version == "1.0"):
        return "Send the body with Transfer-Encoding: chunked by HTTP/1.1, or with Content-Length."
    if any(len(value) > LONGEST_LENGTH for value in lengths):
        return "The Content-Length is invalid; send the number of bytes of the body."
    if twice := SINGLE_HEADERS & repeated:
        return f"The request has the header {min(twice).decode()} more than once; send it once."
    return ""


def _upgrades_with_a_body(headers: Headers) -> bool:
    sent = dict(headers)
    if b"upgrade" not in sent:
        return False
    return b"transfer-encoding" in sent or sent.get(b"content-length", b"0") != b"0"


def body_bytes(headers: Headers) -> int:
    """The Content-Length; 0 without one."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


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
