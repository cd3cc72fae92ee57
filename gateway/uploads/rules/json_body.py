"""A JSON body as it arrives: what is kept of it, and what goes to the spool at once."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.edit import Edit, Upload
from gateway.model.errors import Refusal
from gateway.uploads.rules.data_urls import DataUrl
from gateway.uploads.rules.incoming_file import Arriving, Part
from gateway.uploads.rules.json_edits import (
    Source,
    document_of,
    plan_edit,
    plan_generation,
    sent_document,
)
from gateway.uploads.rules.part_collector import PartCollector
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.wire.json_cutter import Cutter, Hole, Piece

_LONGEST_URL_KEPT = 4_096
_PICTURES = (b"data:image", b"data:application")


class GenerationDocument:
    """A body that goes upstream as the JSON document that it is."""

    def __init__(self, bounds: UploadLimits, intake: PartCollector) -> None:
        self._bounds = bounds
        self._intake = intake
        self._cutter = Cutter(longest=bounds.max_document_bytes)

    def feed(self, piece: bytes) -> None:
        """The next bytes of the body."""
        for _ in self._cutter.feed(piece):
            pass
        _check_text(self._cutter.text_bytes, self._bounds)

    def finish(self, body_bytes: int) -> Edit:
        """The body is whole. Raises Refusal."""
        document = document_of(self._cutter, self._bounds)
        for name, text in plan_generation(document):
            self._intake.add_text(name, text)
        return self._intake.edit(document=sent_document(document), body_bytes=body_bytes)


class EditDocument:
    """An edit's body: its data URLs are decoded, hashed and kept as they arrive."""

    def __init__(self, bounds: UploadLimits, intake: PartCollector) -> None:
        self._bounds = bounds
        self._intake = intake
        self._cutter = Cutter(longest=_LONGEST_URL_KEPT, prefixes=_PICTURES)
        self._kept: list[Upload] = []
        self._url: DataUrl | None = None
        self._file: Arriving | None = None

    def feed(self, piece: bytes) -> None:
        """The next bytes of the body."""
        for cut in self._cutter.feed(piece):
            self._take(cut)
        _check_text(self._cutter.text_bytes, self._bounds)

    def finish(self, body_bytes: int) -> Edit:
        """The body is whole. Raises Refusal."""
        plan = plan_edit(document_of(self._cutter, self._bounds))
        for name, text in plan.fields:
            self._intake.add_text(name, text)
        for name, source in plan.pictures:
            self._intake.add_upload(replace(self._upload(source), field=name))
        return self._intake.edit(body_bytes=body_bytes)

    def _take(self, cut: Piece) -> None:
        if self._url is None or self._file is None:
            self._url, self._file = self._begin()
        if data := self._url.feed(bytes(cut.data)):
            self._file.take(data)
        if cut.last:
            self._kept.append(_end(self._url, self._file))
            self._url = self._file = None

    def _upload(self, source: Source) -> Upload:
        if isinstance(source, Hole):
            return self._kept[source.index]
        url, file = self._begin()
        # JSON's escapes are resolved in it already: a backslash that is left means itself.
        if data := url.feed(source.replace("\\", "?").encode("utf-8", "replace")):
            file.take(data)
        return _end(url, file)

    def _begin(self) -> tuple[DataUrl, Arriving]:
        number = self._intake.count_part()
        label = f"Data URL {number} of the body"
        file = self._intake.arriving(label, Part("image", file_name=label))
        return DataUrl(label, self._bounds), file


def _end(url: DataUrl, file: Arriving) -> Upload:
    if data := url.finish():
        file.take(data)
    return file.done("")


def _check_text(text_bytes: int, bounds: UploadLimits) -> None:
    if text_bytes > bounds.max_document_bytes:
        raise Refusal(
            "body_too_large",
            f"Beside its pictures, a JSON body may have {bounds.max_document_bytes:,} bytes. "
            "Send less, and pictures as base64 data URLs or as multipart/form-data.",
        )
