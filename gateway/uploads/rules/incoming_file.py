"""One file of a request while it arrives: counted, hashed, kept, judged by its first bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from gateway.model.edit import Upload
from gateway.model.errors import Refusal
from gateway.uploads.rules.picture_sniffer import (
    ACCEPTED,
    HEAD_BYTES,
    OCTETS,
    SniffedPicture,
    dimensions,
    look,
)
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.wire.fields import is_picture

Bytes = bytes | memoryview


class Keeper(Protocol):
    """Where the bytes of files are kept."""

    @property
    def size(self) -> int: ...

    def append(self, piece: Bytes) -> None: ...

    def read(self, offset: int, size: int) -> bytes: ...


class Hasher(Protocol):
    """A hash under way."""

    def update(self, data: Bytes, /) -> object: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Part:
    """The head of a part: its name, and what it says of its content."""

    name: str
    file_name: str | None = None
    media_type: str = ""
    is_file: bool = field(init=False)
    """Pictures sent without a file name count, and so does what calls itself binary."""
    may_be_empty_input: bool = field(init=False)
    """A form sends `filename=""` for a file input that was left empty."""

    def __post_init__(self) -> None:
        binary = self.media_type.startswith(("image/", "video/", "audio/", OCTETS))
        is_file = bool(self.file_name) or binary or is_picture(self.name)
        object.__setattr__(self, "is_file", is_file)
        object.__setattr__(self, "may_be_empty_input", self.file_name == "")


class Arriving:
    """One file as it arrives: counted, hashed, kept, and judged by its first bytes."""

    def __init__(
        self, label: str, bounds: UploadLimits, keeper: Keeper, hasher: Hasher, *, part: Part
    ) -> None:
        self._label = label
        self._bounds = bounds
        self._keeper = keeper
        self._hasher = hasher
        self._part = part
        self._offset = keeper.size
        self._size = 0
        self._head = b""
        self._look: SniffedPicture | None = None
        self._judged = False

    def take(self, piece: Bytes) -> None:
        """The next bytes. Raises Refusal where they are too many, or no picture's."""
        self._size += len(piece)
        if self._size > self._bounds.max_image_bytes:
            raise Refusal(
                "image_too_large",
                f"{self._label} is larger than {self._bounds.max_image_bytes:,} bytes. "
                "Send a smaller one.",
                param=self._part.name,
            )
        if not self._judged:
            self._head += bytes(piece[: HEAD_BYTES - len(self._head)])
            if len(self._head) == HEAD_BYTES:
                self._judge()
        self._hasher.update(piece)
        self._keeper.append(piece)

    def done(self, name: str) -> Upload:
        """The whole file has come; `name` is its field's."""
        if not self._judged:
            self._judge()
        media_type = self._look.media_type if self._look else OCTETS
        self._check_pixels(media_type)
        return Upload(name, self._hasher.hexdigest(), self._offset, self._size, media_type)

    def _judge(self) -> None:
        self._judged = True
        self._look = look(self._head)
        if not is_picture(self._part.name):
            return
        if self._look is None or self._look.media_type not in ACCEPTED:
            raise self._no_picture()

    def _no_picture(self) -> Refusal:
        kind = self._look.media_type if self._look else ""
        if not self._part.file_name and kind in {"text/plain", "application/json"}:
            return Refusal(
                "unsupported_image_source",
                f"{self._label} was sent as text. Addresses and file ids are not taken: send "
                "the picture itself as a file, e.g. -F 'image[]=@input.png'.",
                param=self._part.name,
            )
        seen = f"it looks like {self._look.name}" if self._look else "it is of no known kind"
        return Refusal(
            "invalid_image",
            f"{self._label} is not a picture that is taken: {seen if self._head else 'it is empty'}"
            ". Send a PNG, JPEG or WebP file.",
            param=self._part.name,
        )

    def _check_pixels(self, media_type: str) -> None:
        """A small file may say that it is a huge picture: whoever opens it would choke."""

        def read(offset: int, size: int) -> bytes:
            left = max(0, self._size - offset)
            return self._keeper.read(self._offset + offset, min(size, left))

        width, height = dimensions(media_type, read) or (0, 0)
        if not width * height and is_picture(self._part.name):
            raise Refusal(
                "invalid_image",
                f"{self._label} does not say how large it is: its header is broken, or too much "
                "stands before it. Save it anew as a PNG, JPEG or WebP file, and send that.",
                param=self._part.name,
            )
        if width * height > self._bounds.max_pixels:
            raise Refusal(
                "image_too_large",
                f"{self._label} is {width} × {height} pixels; at most "
                f"{self._bounds.max_pixels:,} pixels are taken. Send a smaller one.",
                param=self._part.name,
            )
