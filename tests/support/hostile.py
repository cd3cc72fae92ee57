"""Requests as hostile or as careless clients send them, as strategies and as what they hold."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.bodies import BOUNDARY, FormPart, data_url, document, form, form_type, png, usual

FRAME = b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
EMPTY_SEGMENT = b"\xff\xe0\x00\x02"
JPEG = b"\xff\xd8" + EMPTY_SEGMENT + FRAME + bytes(100)
GIF = b"GIF89a" + bytes(100)
HUGE = png(width=40_000, height=40_000)

SIZES = st.lists(st.integers(1, 120), min_size=1, max_size=4)
ROUTES = st.sampled_from(["edits", "edits", "generations"])
BYTES = st.binary(max_size=60)
HEADS = st.sampled_from(
    [
        b'Content-Disposition: form-data; name="image[]"; filename="x.png"',
        b'Content-Disposition: form-data; name="image"; filename=""',
        b'Content-Disposition: form-data; name="prompt"',
        b'Content-Disposition: form-data; name="model"',
        b'Content-Disposition: form-data; name="n"',
        b'Content-Disposition: form-data; name*=utf-8\'\'x; name="a\\"b"',
        b'content-disposition:form-data;name="mask";filename="C:\\\\x"',
        b"Content-Type: image/png",
        b"Content-Type: multipart/mixed",
    ]
)
CONTENTS = st.sampled_from([b"", b"m", b"1", png(), JPEG, HUGE, b"\r\n", b"https://x"]) | BYTES
PARTS = st.tuples(st.lists(HEADS | BYTES, max_size=3).map(b"\r\n".join), CONTENTS)
FORMS = st.lists(PARTS, max_size=5).map(
    lambda parts: (
        b"".join(
            b"--" + BOUNDARY.encode() + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"
            for head, content in parts
        )
        + b"--"
        + BOUNDARY.encode()
        + b"--\r\n"
    )
)
WHOLE_PARTS = st.builds(
    FormPart,
    st.sampled_from(["image", "image[]", "image[1]", "mask", "n", "tags[]", "x", "markup", "y[z]"]),
    CONTENTS,
    st.none() | st.sampled_from(["", "x.png"]),
    st.none() | st.sampled_from(["image/png", "text/plain; charset=latin-1"]),
)
NAMES = st.sampled_from(["model", "prompt", "images", "image", "mask", "n", "a[]", "a", "stream"])
SOURCES = st.sampled_from([data_url(png()), data_url(GIF), data_url(png(bytes(4_000))), "data:x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | SOURCES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["image_url", "file_id", "url"]) | st.text(max_size=3), inner
        )
    ),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=8).map(
    lambda members: document(
        **{"model": "m", "prompt": "p", "images": [data_url(png())], **members}
    )
)
FORM_TYPES = st.sampled_from(
    [form_type(), f'Multipart/Form-Data; charset=x; boundary="{BOUNDARY}"']
)
ANY_TYPE = st.text(st.characters(max_codepoint=255), max_size=30) | st.sampled_from(
    [form_type(), "application/json", "multipart/form-data", "multipart/form-data; boundary=\\"]
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str]:
    """A request as hostile or as careless clients send it: well formed, and then damaged."""
    if draw(st.booleans()):
        body, content_type = draw(DOCUMENTS), "application/json"
    else:
        whole = st.lists(WHOLE_PARTS, max_size=3).map(lambda parts: form([*parts, *usual()]))
        body, content_type = draw(FORMS | whole), draw(FORM_TYPES)
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(BYTES) + body[at + draw(st.integers(0, 40)) :]
    if draw(st.integers(0, 9)) == 0:
        content_type = draw(ANY_TYPE)
    return body, content_type
