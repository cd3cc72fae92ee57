"""Reads JSON bodies as they arrive; data URLs are decoded into the spool at once."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.edit import Route, Upload
from gateway.model.errors import Refusal
from gateway.uploads.edit_builder import EditBuilder
from gateway.uploads.rules.data_url_decoder import RAW, DataUrlDecoder
from gateway.uploads.rules.json_fields import (
    Source,
    canonical_document,
    edit_fields,
    generation_fields,
    parse_document,
)
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.uploaded_file import UploadedFile
from gateway.wire.json_cutter import Cutter, LongString, StringPart

_LONGEST_URL_KEPT = 4_096
_PICTURES = (b"data:image", b"data:application", b"\\/9j\\/", *map(str.encode, RAW))
"""How long strings of pictures begin; some encoders escape the slash."""


class JsonReader:
    """Reads a JSON body. Data URLs of an edit are decoded, hashed and spooled as they arrive.

    A generation goes upstream as a JSON document, its strings included.
    """

    def __init__(self, limits: UploadLimits, builder: EditBuilder, route: Route) -> None:
        self._limits = limits
        self._builder = builder
        self._is_edit = route == "edits"
        longest = _LONGEST_URL_KEPT if self._is_edit else limits.max_document_bytes
        self._cutter = Cutter(longest=longest, prefixes=_PICTURES)
        self._uploads: list[Upload] = []
        self._picture: _DataUrlFile | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        for cut in self._cutter.feed(piece):
            self._write(cut)
        if self._cutter.text_bytes > (max_bytes := self._limits.max_document_bytes):
            raise Refusal(
                "body_too_large",
                f"A JSON body may have {max_bytes:,} bytes apart from its pictures. Send less, "
                "and send pictures as base64 data URLs or as multipart/form-data.",
            )

    def finish(self) -> None:
        """The body is complete. Raises Refusal."""
        document = parse_document(self._cutter, self._limits)
        if self._is_edit:
            fields, pictures = edit_fields(document)
        else:
            fields, pictures = generation_fields(document), []
            self._builder.document = canonical_document(document)
        for name, text in fields:
            self._builder.add_text(name, text)
        for name, source in pictures:
            self._builder.add_upload(replace(self._upload(source), field=name))

    def _write(self, cut: StringPart) -> None:
        if self._picture is None:
            self._picture = _DataUrlFile(self._builder, self._limits)
        self._picture.write(bytes(cut.data))
        if cut.last:
            self._uploads.append(self._picture.finish())
            self._picture = None

    def _upload(self, source: Source) -> Upload:
        if isinstance(source, LongString):
            return self._uploads[source.index]
        picture = _DataUrlFile(self._builder, self._limits)
        # The JSON parser has resolved all escapes: a remaining backslash is invalid.
        picture.write(source.replace("\\", "?").encode("utf-8", "replace"))
        return picture.finish()


class _DataUrlFile:
    """A file that arrives as the text of a data URL."""

    def __init__(self, builder: EditBuilder, limits: UploadLimits) -> None:
        label = f"Data URL {builder.count_part()} of the body"
        self._decoder = DataUrlDecoder(label, limits)
        self._file: UploadedFile = builder.new_file(label, "image", label)

    def write(self, text: bytes) -> None:
        if data := self._decoder.feed(text):
            self._file.write(data)

    def finish(self) -> Upload:
        if data := self._decoder.finish():
            self._file.write(data)
        return self._file.finish("")
