"""A multipart body comes apart as it was put together, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from gateway.model.errors import Refusal
from gateway.uploads.part_head import parse_headers
from gateway.uploads.rules.multipart_parser import MOST_LOOKALIKES, Write
from gateway.uploads.rules.multipart_parser import MultipartParser as OurParser

BOUNDARY = b"b0undary"
HEADERS = b'Content-Disposition: form-data; name="a"\r\n\r\n'

Content = tuple[dict[bytes, bytes], bytes]


class Recorder:
    """The parts that the parser found."""

    def __init__(self) -> None:
        self.parts: list[Content] = []
        self.open = False

    def begin(self, head: bytes) -> Write:
        headers = parse_headers(head)
        assert not self.open
        self.open = True
        self.parts.append((headers, b""))
        return self.data

    def data(self, piece: bytes | memoryview) -> None:
        assert self.open
        assert len(piece)
        headers, content = self.parts[-1]
        self.parts[-1] = headers, content + bytes(piece)

    def end(self) -> None:
        assert self.open
        self.open = False


def taken_apart(
    body: bytes, sizes: list[int] | None = None, *, whole: bool = False
) -> tuple[list[Content], bool]:
    found = Recorder()
    parser = OurParser(BOUNDARY, found.begin, found.end, 500)
    at, turn = 0, 0
    while at < len(body):
        size = sizes[turn % len(sizes)] if sizes else len(body)
        parser.feed(body[at : at + size])
        at, turn = at + size, turn + 1
    if whole:
        parser.finish()
    return found.parts, parser.ended


def put_together(contents: list[bytes], padding: bytes = b"") -> bytes:
    parts = (b"--" + BOUNDARY + padding + b"\r\n" + HEADERS + each + b"\r\n" for each in contents)
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def by_another_parser(body: bytes) -> list[bytes]:
    """The contents as python-multipart finds them."""
    contents: list[bytes] = []

    def began() -> None:
        contents.append(b"")

    def came(data: bytes, start: int, end: int) -> None:
        contents[-1] += data[start:end]

    MultipartParser(BOUNDARY, {"on_part_begin": began, "on_part_data": came}).write(body)
    return contents


# What looks like the beginning of a delimiter, or like one with too much behind it.
nearly = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n-", b"\r\n--", b"\r\n--b0und", b"--b0undary"]
)
almost = st.sampled_from(
    [b"\r\n--b0undaryx", b"\r\n--b0undary-x", b"\r\n--b0undary\rx", b"-", b"x"]
)
contents = st.lists(st.lists(nearly | almost, max_size=8).map(b"".join), min_size=1, max_size=4)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def is_content(content: bytes) -> bool:
    """No run of pieces has made a delimiter of its own."""
    whole = b"\r\n" + content + b"\r\n--"
    delimiter = b"\r\n--" + BOUNDARY
    return not any(delimiter + end in whole for end in (b"\r\n", b"--", b" ", b"\t"))


@given(contents.filter(lambda found: all(map(is_content, found))), sizes)
def test_contents_come_out_as_they_went_in_however_they_are_cut(
    contents: list[bytes], sizes: list[int]
) -> None:
    body = put_together(contents)
    parts, ended = taken_apart(body, sizes)
    assert [content for _, content in parts] == contents
    assert ended
    assert parts == taken_apart(body)[0]
    assert by_another_parser(body) == contents


@given(sizes)
def test_blanks_behind_a_boundary_are_passed_over(sizes: list[int]) -> None:
    body = b"\r\n\r\n" + put_together([b"one", b"", b"three"], padding=b" \t ")
    assert [content for _, content in taken_apart(body, sizes)[0]] == [b"one", b"", b"three"]


def test_headers_are_told_by_their_lower_case_names() -> None:
    body = b"--b0undary\r\nA-b: one\r\nC:two \r\n\r\nx\r\n--b0undary--"
    assert taken_apart(body) == ([({b"a-b": b"one", b"c": b"two"}, b"x")], True)


def test_what_follows_the_closing_boundary_is_nobodys() -> None:
    body = put_together([b"x"])
    assert taken_apart(body + body, [7]) == taken_apart(body)


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"p" * 600 + b"\r\n" + put_together([b"x"]), id="a long preamble"),
        pytest.param(b"--b0undary junk\r\n" + HEADERS, id="something behind a boundary"),
        pytest.param(b"--b0undaryjunk\r\n" + HEADERS, id="another boundary"),
        pytest.param(b"--b0undary" + b" " * 300 + b"\r\n" + HEADERS, id="endless blanks"),
        pytest.param(put_together([b"x\r\n--b0undary \r \r\n"]), id="a return among blanks"),
        pytest.param(b"--b0undary\r\nno colon\r\n\r\n", id="no header"),
        pytest.param(b"--b0undary\r\n: x\r\n\r\n", id="a header without a name"),
        pytest.param(b"--b0undary\r\nA: 1\r\n b\r\n\r\n", id="a folded header"),
        pytest.param(b"--b0undary\r\nA: 1\r\na: 2\r\n\r\n", id="a header twice"),
        pytest.param(b"--b0undary\r\nA: 1\nB: 2\r\n\r\n", id="a bare line feed"),
        pytest.param(b"--b0undary\r\nA: " + b"x" * 600, id="endless headers"),
    ],
)
def test_what_is_not_framed_so_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(Refusal) as refused:
        taken_apart(body, [size], whole=True)
    assert refused.value.code == "invalid_multipart"


@pytest.mark.parametrize("boundary", [b"", b"x" * 257])
def test_a_boundary_beyond_reason_is_refused(boundary: bytes) -> None:
    recorder = Recorder()
    with pytest.raises(Refusal):
        OurParser(boundary, recorder.begin, recorder.end, 500)


def test_contents_that_are_full_of_the_boundary_are_refused() -> None:
    lookalike = b"\r\n--b0undaryx"
    contents = [lookalike * (MOST_LOOKALIKES // 2)] * 2
    assert [content for _, content in taken_apart(put_together(contents), [7])[0]] == contents
    with pytest.raises(Refusal, match="its own boundary"):
        taken_apart(put_together([*contents, lookalike]), [7])


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("preamble", [b"\r\n", b"\n", b"This is MIME.\r\n", b"--b0\r\n\r\n"])
def test_a_preamble_is_skipped(preamble: bytes, size: int) -> None:
    body = put_together([b"x", b""])
    assert taken_apart(preamble + body, [size]) == taken_apart(body)


def test_a_missing_closing_delimiter_is_named() -> None:
    recorder = Recorder()
    parser = OurParser(BOUNDARY, recorder.begin, recorder.end, 500)
    parser.feed(put_together([b"x"]).removesuffix(b"--\r\n"))
    with pytest.raises(Refusal, match=r"closing delimiter.*UnityWebRequest"):
        parser.finish()


def test_a_body_without_the_boundary_is_not_called_cut_short() -> None:
    recorder = Recorder()
    parser = OurParser(BOUNDARY, recorder.begin, recorder.end, 500)
    parser.feed(b"--other\r\n")
    with pytest.raises(Refusal, match="the boundary that Content-Type names"):
        parser.finish()
