"""One uploaded file: hashed and spooled as it arrives, its format judged by its first bytes.

The one home of BLAKE3.
"""

from __future__ import annotations

from blake3 import blake3

from gateway.model.edit import Upload
from gateway.model.errors import Refusal
from gateway.uploads.rules.picture_sniffer import (
    HEAD_BYTES,
    OCTETS,
    SegmentBudget,
    SniffedPicture,
    dimensions,
    look,
)
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import Spool
from gateway.wire.request_fields import is_picture


def digest(data: bytes) -> str:
    """The BLAKE3 hash of `data` as 64 hex digits."""
    return blake3(data).hexdigest()


class UploadedFile:
    """A file while it arrives. `label` names it in messages."""

    def __init__(
        self,
        label: str,
        field: str,
        file_name: str | None,
        limits: UploadLimits,
        spool: Spool,
        segments: SegmentBudget,
    ) -> None:
        self._label = label
        self._field = field
        self._file_name = file_name
        self._must_be_picture = is_picture(field)
        self._limits = limits
        self._spool = spool
        self._segments = segments
        self._hasher = blake3()
        self._offset = spool.size
        self._size = 0
        self._head = b""
        self._format: SniffedPicture | None = None
        self._checked = False

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes. Raises Refusal if the file is too large or not a picture."""
        self._size += len(piece)
        if self._size > self._limits.max_image_bytes:
            raise self._too_large(
                f"larger than {self._limits.max_image_bytes:,} bytes. Send a smaller one."
            )
        if not self._checked:
            self._head += bytes(piece[: HEAD_BYTES - len(self._head)])
            if len(self._head) == HEAD_BYTES:
                self._check_format()
        self._hasher.update(piece)
        self._spool.append(piece)

    def finish(self, field: str) -> Upload:
        """The file is complete; `field` is the name under which it is sent on."""
        if not self._checked:
            self._check_format()
        media_type = self._format.media_type if self._format else OCTETS
        self._check_pixels(media_type)
        return Upload(field, self._hasher.hexdigest(), self._offset, self._size, media_type)

    def _check_format(self) -> None:
        self._checked = True
        found = self._format = look(self._head)
        accepted = {f"image/{name}" for name in self._limits.picture_formats}
        if self._must_be_picture and (found is None or found.media_type not in accepted):
            raise self._not_a_picture()

    def _not_a_picture(self) -> Refusal:
        kind = self._format.media_type if self._format else ""
        if not self._file_name and kind in {"text/plain", "application/json"}:
            return Refusal(
                "unsupported_image_source",
                f"{self._label} was sent as text. URLs and file ids are not accepted: send "
                "the picture itself as a file, e.g. -F 'image[]=@input.png'.",
                param=self._field,
            )
        seen = f"it looks like {self._format.name}" if self._format else "its format is unknown"
        return Refusal(
            "invalid_image",
            f"{self._label} is not an accepted picture: {seen if self._head else 'it is empty'}"
            f". Send {self._limits.formats_text}.",
            param=self._field,
        )

    def _check_pixels(self, media_type: str) -> None:
        """Refuse a small file that decodes to a huge picture."""
        width, height = dimensions(media_type, self._read, self._segments) or (0, 0)
        unread = self._must_be_picture or self._segments.left <= 0
        if not width * height and unread:
            raise Refusal(
                "invalid_image",
                f"{self._label} does not state its width and height: its header is broken or "
                f"too long. Save it again as {self._limits.formats_text}, and send that.",
                param=self._field,
            )
        if width * height > self._limits.max_pixels:
            raise self._too_large(
                f"{width} × {height} pixels; the limit is {self._limits.max_pixels:,} pixels. "
                "Send a smaller one."
            )

    def _too_large(self, why: str) -> Refusal:
        return Refusal("image_too_large", f"{self._label} is {why}", param=self._field)

    def _read(self, offset: int, size: int) -> bytes:
        left = max(0, self._size - offset)
        return self._spool.read(self._offset + offset, min(size, left))
