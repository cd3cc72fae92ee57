"""Collects the parts of a request as they arrive, within bounds, and refuses what can't be.

The clerk between a parser and an Edit: it is told of parts and of their bytes, and does no
I/O but what is handed to it (where to keep bytes, how to hash them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from gateway.model.edit import Edit, Route, Upload, is_reference
from gateway.model.errors import Refusal
from gateway.uploads.rules.incoming_file import Arriving, Bytes, Hasher, Keeper, Part
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.wire.fields import (
    MASK,
    check_name,
    check_source,
    edit_of,
    is_mask,
    may_repeat,
    require,
)


class UploadChecks(Protocol):
    """Refuses an edit while it is being read. Both methods may raise Refusal."""

    def model_known(self, model: str) -> None:
        """The text of `model` has come; it may come before or after the pictures."""
        ...

    def reference_seen(self, count: int) -> None:
        """The head of the `count`-th reference has come, none of its bytes yet.

        Called again with the count so far once the model is known.
        """
        ...


class PartCollector:
    """What has come of one request so far."""

    def __init__(
        self,
        route: Route,
        bounds: UploadLimits,
        gatekeeper: UploadChecks,
        keeper: Keeper,
        new_hasher: Callable[[], Hasher],
    ) -> None:
        self._route = route
        self._bounds = bounds
        self._gatekeeper = gatekeeper
        self._keeper = keeper
        self._new_hasher = new_hasher
        self._names: set[str] = set()
        self._fields: list[tuple[str, str]] = []
        self._uploads: list[Upload] = []
        self._references = 0
        self._parts = 0
        self._part: Part | None = None
        self._text: bytearray | None = None
        self._file: Arriving | None = None

    # --- parts whose bytes come piece by piece ------------------------------------------

    def begin(self, part: Part) -> None:
        """The head of a part has come."""
        check_name(part.name, self._bounds.max_name_bytes)
        self.count_part()
        self._part, self._text, self._file = part, None, None
        if not part.may_be_empty_input:
            self._open(part)

    def data(self, piece: Bytes) -> None:
        """Some of the part's bytes."""
        if self._file is None and self._text is None and self._part:
            self._open(Part(self._part.name, None, self._part.media_type))
        if self._file is not None:
            self._file.take(piece)
        elif self._text is not None:
            self._text += piece
            self._check_length(len(self._text))

    def end(self) -> None:
        """The part is whole. An empty file input leaves no trace."""
        part, text, file = self._part, self._text, self._file
        self._part = self._text = self._file = None
        if part and file is not None:
            self._uploads.append(file.done(_own_name(part.name)))
        elif part and text is not None:
            self._keep_text(part.name, _decoded(part.name, bytes(text)))

    def _open(self, part: Part) -> None:
        self._part = part
        label = self._register(part.name)
        if part.is_file:
            self._file = self.arriving(label, part)
        else:
            self._text = bytearray()

    def _check_length(self, size: int) -> None:
        if size > self._bounds.max_field_bytes and self._part:
            raise _too_long(self._part.name, self._bounds.max_field_bytes)

    # --- fields and files that are whole already ----------------------------------------

    def add_text(self, name: str, text: str) -> None:
        """A whole text field."""
        check_name(name, self._bounds.max_name_bytes)
        self._register(name)
        if len(text.encode("utf-8", "surrogatepass")) > self._bounds.max_field_bytes:
            raise _too_long(name, self._bounds.max_field_bytes)
        self._keep_text(name, text)

    def add_upload(self, upload: Upload) -> None:
        """A whole file that is kept already."""
        check_name(upload.field, self._bounds.max_name_bytes)
        self._register(upload.field)
        self._uploads.append(replace(upload, field=_own_name(upload.field)))

    # --- both -----------------------------------------------------------------------------

    def arriving(self, label: str, part: Part) -> Arriving:
        """A file that is about to come."""
        return Arriving(label, self._bounds, self._keeper, self._new_hasher(), part=part)

    def count_part(self) -> int:
        """One more part or file of the request; how many there are by now."""
        self._parts += 1
        if self._parts > self._bounds.max_parts:
            raise Refusal(
                "invalid_field",
                f"The request has more than {self._bounds.max_parts} fields and files. Send fewer.",
            )
        return self._parts

    def edit(self, *, document: bytes = b"", body_bytes: int = 0) -> Edit:
        """Everything that came. Raises Refusal where something required did not."""
        return edit_of(
            self._route,
            tuple(self._fields),
            tuple(self._uploads),
            document=document,
            body_bytes=body_bytes,
        )

    def _register(self, name: str) -> str:
        """Note that a field of this name came; how to speak of it in a message."""
        check_source(self._route, name)
        name = _own_name(name)
        if name in self._names and not may_repeat(name):
            message = f"The field `{name}` was sent more than once. Send it once."
            raise Refusal("duplicate_field", message, param=name)
        self._names.add(name)
        if not is_reference(name):
            return f"`{name}`"
        self._references += 1
        self._gatekeeper.reference_seen(self._references)
        alone = self._references == 1 and name == "image"
        return f"`{name}`" if alone else f"`{name}` ({_ordinal(self._references)})"

    def _keep_text(self, name: str, text: str) -> None:
        if len(self._fields) >= self._bounds.max_fields:
            message = f"The request has more than {self._bounds.max_fields} fields. Send fewer."
            raise Refusal("invalid_field", message)
        self._fields.append((name, text))
        if name == "model":
            self._gatekeeper.model_known(require("model", text))
            if self._references:
                self._gatekeeper.reference_seen(self._references)


def _own_name(name: str) -> str:
    """However it is written, there is one mask."""
    return MASK if is_mask(name) else name


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        message = f"The field `{name}` is not UTF-8 text. Send it as UTF-8."
        raise Refusal("invalid_field", message, param=name) from None


def _too_long(name: str, max_bytes: int) -> Refusal:
    message = f"The field `{name}` is longer than {max_bytes:,} bytes. Shorten it."
    return Refusal("invalid_field", message, param=name)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}th" if number % 100 in {11, 12, 13} else f"{number}{ending}"
