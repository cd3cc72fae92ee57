"""Builds an `Edit` from the fields and files of a request, in the order of their arrival."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from gateway.model.edit import Edit, Route, Upload, is_reference
from gateway.model.errors import Refusal
from gateway.uploads.part_head import PartHead
from gateway.uploads.rules.picture_sniffer import SegmentBudget
from gateway.uploads.rules.upload_limits import UploadLimits
from gateway.uploads.spool import Spool
from gateway.uploads.uploaded_file import UploadedFile
from gateway.wire.request_fields import (
    MASK,
    SCALARS,
    check_name,
    check_source,
    edit_of,
    is_mask,
    may_repeat,
    require,
)


class UploadChecks(Protocol):
    """Checks of an edit while its body is being read. Both methods may raise Refusal."""

    def model_known(self, model: str) -> None:
        """The value of `model` is complete; pictures may precede or follow it."""
        ...

    def reference_seen(self, count: int) -> None:
        """The `count`-th reference picture begins.

        Called again with the count so far once the model is known.
        """
        ...


class EditBuilder:
    """Collects fields and files, and refuses a request that exceeds its limits."""

    def __init__(
        self, route: Route, limits: UploadLimits, checks: UploadChecks, spool: Spool
    ) -> None:
        self.document = b""
        """The JSON document of a generation."""
        self._route = route
        self._limits = limits
        self._checks = checks
        self._spool = spool
        self._names: set[str] = set()
        self._fields: list[tuple[str, str]] = []
        self._uploads: list[Upload] = []
        self._references = 0
        self._segments = SegmentBudget()
        self._parts = 0
        # The part that is being read: a file, or a text field, or (neither) still empty.
        self._head = PartHead("")
        self._file: UploadedFile | None = None
        self._text: bytearray | None = None

    # --- parts of a form --------------------------------------------------------------------

    def begin_part(self, head: PartHead) -> Callable[[bytes | memoryview], None]:
        """Begin a part. Returns the function that takes its content, piece by piece."""
        check_name(head.name, self._limits.max_name_bytes)
        self.count_part()
        self._head, self._file, self._text = head, None, None
        if head.file_name == "":  # a file input that was left empty, unless content follows
            return partial(self._write_nameless, head)
        return self._open(head)

    def end_part(self) -> None:
        """The part is complete. An empty file input is ignored."""
        if self._file is not None:
            self._uploads.append(self._file.finish(_canonical_name(self._head.name)))
        elif self._text is not None:
            self._keep_text(self._head.name, self._head.decode(self._text))

    def _open(self, head: PartHead) -> Callable[[bytes | memoryview], None]:
        if head.file_name and head.name in SCALARS:
            message = f"`{head.name}` was sent as a file. Send it as text, without a file name."
            raise Refusal("invalid_field", message, param=head.name)
        label = self._register(head.name)
        if head.is_file:
            self._file = self.new_file(label, head.name, head.file_name)
            return self._file.write
        self._text = bytearray()
        return partial(self._write_text, self._text)

    def _write_nameless(self, head: PartHead, piece: bytes | memoryview) -> None:
        if self._file is None and self._text is None:
            self._open(replace(head, file_name=None))
        if self._file is not None:
            self._file.write(piece)
        elif self._text is not None:
            self._write_text(self._text, piece)

    def _write_text(self, text: bytearray, piece: bytes | memoryview) -> None:
        text += piece
        if len(text) > self._limits.max_field_bytes:
            raise _too_long(self._head.name, self._limits.max_field_bytes)

    # --- complete fields and files of a JSON document ---------------------------------------

    def add_text(self, name: str, text: str) -> None:
        """Add a text field."""
        check_name(name, self._limits.max_name_bytes)
        self._register(name)
        if len(text.encode("utf-8", "surrogatepass")) > self._limits.max_field_bytes:
            raise _too_long(name, self._limits.max_field_bytes)
        self._keep_text(name, text)

    def add_upload(self, upload: Upload) -> None:
        """Add a file whose bytes are in the spool."""
        check_name(upload.field, self._limits.max_name_bytes)
        self._register(upload.field)
        self._uploads.append(replace(upload, field=_canonical_name(upload.field)))

    # --- both ---------------------------------------------------------------------------------

    def new_file(self, label: str, field: str, file_name: str | None) -> UploadedFile:
        """A file whose bytes follow; `label` names it in messages."""
        return UploadedFile(label, field, file_name, self._limits, self._spool, self._segments)

    def count_part(self) -> int:
        """Count one more part or file; returns the count so far."""
        self._parts += 1
        if self._parts > self._limits.max_parts:
            raise Refusal(
                "invalid_field",
                f"The request has more than {self._limits.max_parts} fields and files. Send fewer.",
            )
        return self._parts

    def build(self, body_bytes: int) -> Edit:
        """The complete Edit. Raises Refusal if a required field is missing."""
        return edit_of(
            self._route,
            tuple(self._fields),
            tuple(self._uploads),
            document=self.document,
            body_bytes=body_bytes,
        )

    def _register(self, name: str) -> str:
        """Record that a field of this name begins; returns its label for messages."""
        check_source(self._route, name)
        name = _canonical_name(name)
        if name in self._names and not may_repeat(name):
            message = f"The field `{name}` was sent more than once. Send it once."
            raise Refusal("duplicate_field", message, param=name)
        self._names.add(name)
        if not is_reference(name):
            return f"`{name}`"
        self._references += 1
        self._checks.reference_seen(self._references)
        alone = self._references == 1 and name == "image"
        return f"`{name}`" if alone else f"`{name}` ({_ordinal(self._references)})"

    def _keep_text(self, name: str, text: str) -> None:
        if len(self._fields) >= self._limits.max_fields:
            message = f"The request has more than {self._limits.max_fields} fields. Send fewer."
            raise Refusal("invalid_field", message)
        self._fields.append((name, text))
        if name == "model":
            self._checks.model_known(require("model", text))
            if self._references:
                self._checks.reference_seen(self._references)


def _canonical_name(name: str) -> str:
    """`mask` for every spelling of it."""
    return MASK if is_mask(name) else name


def _too_long(name: str, max_bytes: int) -> Refusal:
    message = f"The field `{name}` is longer than {max_bytes:,} bytes. Shorten it."
    return Refusal("invalid_field", message, param=name)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}th" if number % 100 in {11, 12, 13} else f"{number}{ending}"
