"""One request has one end: what another reader might read differently is refused, and so is
everything behind it on its connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.test_server import POST, App, check_refused, rest_of, served

BEHIND = b"GET /behind HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


AMBIGUOUS = {
    "a length and chunks": post(b"content-length: 5", b"transfer-encoding: chunked", body=LAST),
    "chunks and a length": post(b"transfer-encoding: chunked", b"content-length: 5", body=LAST),
    "two lengths": post(b"content-length: 1", b"content-length: 2", body=b"xy"),
    "the same length twice": post(b"content-length: 1", b"content-length: 1", body=b"x"),
    "a list of lengths": post(b"content-length: 1, 1", body=b"x"),
    "a length with a sign": post(b"content-length: +1", body=b"x"),
    "a negative length": post(b"content-length: -1", body=b"x"),
    "a hexadecimal length": post(b"content-length: 0x1", body=b"x"),
    "an empty length": post(b"content-length:", body=b"x"),
    "a length of 70 bits": post(b"content-length: 999999999999999999999", body=b"x"),
    "a name with a space": post(b"transfer-encoding : chunked", body=LAST),
    "a name with a tab": post(b"content-length\t: 1", body=b"x"),
    "a length by a folded line": post(b"content-length:", b" 1", body=b"x"),
    "chunks by a folded line": post(b"transfer-encoding:", b" chunked", body=LAST),
    "any folded line": post(b"a: b", b"\tc", b"content-length: 0"),
    "an unknown encoding": post(b"transfer-encoding: xchunked", body=LAST),
    "no encoding": post(b"transfer-encoding: identity", body=LAST),
    "an encoding before chunks": post(b"transfer-encoding: gzip, chunked", body=LAST),
    "an encoding behind chunks": post(b"transfer-encoding: chunked, gzip", body=LAST),
    "chunks twice": post(b"transfer-encoding: chunked, chunked", body=LAST),
    "two encodings": post(b"transfer-encoding: gzip", b"transfer-encoding: chunked", body=LAST),
    "chunks in quotes": post(b'transfer-encoding: "chunked"', body=LAST),
    "chunks behind a control character": post(b"transfer-encoding: \x0bchunked", body=LAST),
    "chunks by HTTP/1.0": post(b"transfer-encoding: chunked", body=LAST).replace(b"/1.1", b"/1.0"),
    "lines that end in LF": post(b"content-length: 0").replace(b"\r\n", b"\n"),
    "one line that ends in LF": post(b"a: b\ncontent-length: 0"),
    "one line that ends in CR": post(b"a: b\rcontent-length: 0"),
    "a NUL": post(b"a: b\x00", b"content-length: 0"),
    "a NUL in a name": post(b"a\x00: b", b"content-length: 0"),
    "a header without a name": post(b": b", b"content-length: 0"),
    "two hosts": post(b"host: y", b"content-length: 0"),
    "two keys": post(b"authorization: a", b"Authorization: b", b"content-length: 0"),
    "two types": post(b"content-type: a/b", b"Content-Type: c/d", b"content-length: 0"),
    "an unknown version": post(b"content-length: 0").replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no version": b"GET /headers\r\n\r\n",
    "a chunk of 70 bits": CHUNKED + b"fffffffffffffffff0\r\nx\r\n" + LAST,
    "a negative chunk": CHUNKED + b"-1\r\nx\r\n" + LAST,
    "a chunk with a prefix": CHUNKED + b"0x1\r\nx\r\n" + LAST,
    "a chunk whose size has a space": CHUNKED + b"1 \r\nx\r\n" + LAST,
    "a chunk whose lines end in LF": CHUNKED + b"1\nx\n0\n\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\nxy\r\n" + LAST,
    "an extension that ends in LF": CHUNKED + b"1;a=b\nx\r\n" + LAST,
    "a length behind the chunks": CHUNKED + b"0\r\ncontent-length: 5\r\n\r\n",
    "another protocol": b"GET /headers RTSP/1.0\r\nhost: x\r\n\r\n",
    "a source's protocol": b"GET /headers ICE/1.0\r\nhost: x\r\n\r\n",
    "two spaces before the path": b"GET  /headers HTTP/1.1\r\nhost: x\r\n\r\n",
    "two spaces behind the path": b"GET /headers  HTTP/1.1\r\nhost: x\r\n\r\n",
    "a space before the method": b" GET /headers HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tab behind the method": b"GET\t/headers HTTP/1.1\r\nhost: x\r\n\r\n",
    "a LF before the method": b"\nGET /headers HTTP/1.1\r\nhost: x\r\n\r\n",
    "a CR before the method": b"\rGET /headers HTTP/1.1\r\nhost: x\r\n\r\n",
    "an asterisk for a path": b"GET * HTTP/1.1\r\nhost: x\r\n\r\n",
    "no host": b"GET /headers HTTP/1.1\r\n\r\n",
    "a host with a path": b"GET /headers HTTP/1.1\r\nhost: x/y\r\n\r\n",
    "a host with a user": b"GET /headers HTTP/1.1\r\nhost: a@x\r\n\r\n",
    "a host with a space": b"GET /headers HTTP/1.1\r\nhost: a b\r\n\r\n",
    "a host with a port that is no number": b"GET /headers HTTP/1.1\r\nhost: x:http\r\n\r\n",
    "a host of HTTP/1.0 with a path": b"GET /headers HTTP/1.0\r\nhost: x/y\r\n\r\n",
    "an upgrade by a folded line": post(
        b"connection: upgrade", b"upgrade:", b" h2c", b"content-length: 0"
    ),
    "an upgrade whose name ends in a space": post(
        b"connection: upgrade", b"upgrade : h2c", b"content-length: 0"
    ),
    "a NUL in an upgrade": post(b"connection: upgrade", b"upgrade: \x00", b"content-length: 0"),
    "a folded line behind an upgrade": post(
        b"connection: upgrade", b"upgrade: h2c", b" x", b"content-length: 0"
    ),
}


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with served() as running:
        yield running


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_has_more_than_one_reading_is_refused_with_all_that_is_behind_it(
    app: App, sent: bytes
) -> None:
    answer = app.ask(sent + BEHIND)

    check_refused(answer, 400, "bad_request")  # and nothing comes after it


@pytest.mark.parametrize("step", [1, 7])
def test_how_the_bytes_are_cut_into_packets_does_not_matter(step: int) -> None:
    sent = AMBIGUOUS["an encoding before chunks"] + BEHIND
    with served() as app, app.connect() as connection:
        for at in range(0, len(sent), step):
            try:
                connection.sendall(sent[at : at + step])
            except (BrokenPipeError, ConnectionResetError):
                break
        answer = rest_of(connection)

    check_refused(answer, 400, "bad_request")


def bodies(app: App, sent: bytes) -> list[bytes]:
    """What the server answers, answer by answer, until nothing more comes."""
    return app.ask(sent).split(b"HTTP/1.1 200 OK\r\n")[1:]


def test_plain_requests_one_behind_another_are_each_answered() -> None:
    with served() as app:
        chunks = CHUNKED + b"1\r\nx\r\n1;name=value\r\ny\r\n" + LAST
        length = post(b"Content-Length: 3", body=b"abc")
        last = BEHIND.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        answers = bodies(app, chunks + length + last)

    assert len(answers) == 3


@pytest.mark.parametrize("word", [b"chunked", b"Chunked", b"CHUNKED"])
def test_chunked_is_chunked_in_whatever_case(word: bytes) -> None:
    with served() as app:
        answers = bodies(app, post(b"Transfer-Encoding: " + word, b"connection: close", body=LAST))

    assert len(answers) == 1


UPGRADES = {
    "a length": post(
        b"connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"content-length: 3", body=b"abc"
    ),
    "chunks": post(
        b"upgrade: h2c", b"connection: upgrade", b"transfer-encoding: chunked",
        body=b"3\r\nabc\r\n" + LAST,
    ),
    "nothing": post(b"connection: upgrade", b"upgrade: websocket", b"content-length: 0"),
    "two offers": post(
        b"Connection: upgrade", b"upgrade: h2c", b"upgrade: x", b"content-length: 1", body=b"x"
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 50, 10_000])
@pytest.mark.parametrize("body", UPGRADES)
def test_an_offer_to_upgrade_is_ignored_and_the_body_is_no_other_request(
    body: str, step: int
) -> None:
    last = BEHIND.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    sent = UPGRADES[body] + last
    with served() as app:
        answer = app.ask(*[sent[at : at + step] for at in range(0, len(sent), step)])

    assert answer.count(b"HTTP/1.1 200 OK\r\n") == answer.count(b"HTTP/1.1 ") == 2


def test_a_body_behind_an_offer_to_upgrade_is_read_by_its_length() -> None:
    """What looks like a request is the body; a request behind it is one."""
    inner = BEHIND.replace(b"behind", b"inner")
    length = b"content-length: %d" % len(inner)
    with served() as app:
        sent = post(b"connection: upgrade, close", b"upgrade: h2c", length, body=inner)
        answers = bodies(app, sent)

    assert len(answers) == 1


# --- methods, hosts, and the server as a whole --------------------------------------------


@pytest.mark.parametrize("method", [b"BREW", b"PROPFIND", b"CONNECT", b"get", b"SOURCE"])
def test_a_method_that_nothing_here_implements_is_501_and_ends_the_connection(
    method: bytes,
) -> None:
    with served() as app:
        answer = app.ask(method + b" /headers HTTP/1.1\r\nhost: x\r\n\r\n" + BEHIND)

    check_refused(answer, 501, "method_not_allowed")


def test_the_server_s_options_are_the_methods_it_implements() -> None:
    with served() as app:
        sent = b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"
        last = BEHIND.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        options, _ = bodies(app, sent + last)

    assert b"\r\nallow: GET, HEAD, POST" in b"\r\n" + options


@pytest.mark.parametrize(
    "host", [b"x", b"x:8080", b"x:", b"", b"[::1]:8080", b"127.0.0.1", b"a_b.example", b"x.%41"]
)
def test_a_well_formed_host_is_served(host: bytes) -> None:
    with served() as app:
        sent = b"GET / HTTP/1.1\r\nconnection: close\r\nhost: " + host + b"\r\n\r\n"
        assert len(bodies(app, sent)) == 1


def test_http_1_0_needs_no_host_and_is_not_asked_to_go_on() -> None:
    head = b"POST /body HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
    with served() as app:
        answer = app.ask(head, b"abc")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer


# --- floods -------------------------------------------------------------------------------


@pytest.mark.parametrize("extension_bytes", [1_000, 300])
def test_extensions_of_chunks_are_bounded_in_all(extension_bytes: int) -> None:
    """Else a body of a few bytes, which no bound of bodies stops, may come for ever."""
    chunk = b"1;" + b"a" * extension_bytes + b"\r\nx\r\n"
    with served(max_header_bytes=16 * 2**10) as app:
        answer = app.ask(CHUNKED, *[chunk * 1_000] * 10)

    check_refused(answer, 431, "headers_too_large")


def test_many_small_chunks_are_no_flood() -> None:
    with served(max_header_bytes=2**10) as app:
        sent = post(b"transfer-encoding: chunked", b"connection: close")
        answers = bodies(app, sent + b"1\r\nx\r\n" * 20_000 + LAST)

    assert len(answers) == 1


def test_what_is_pipelined_behind_a_refusal_is_never_answered() -> None:
    with served() as app:
        answer = app.ask(b"GET / HTTP/1.9\r\nhost: x\r\n\r\n" + BEHIND * 3)

    check_refused(answer, 400, "bad_request")
