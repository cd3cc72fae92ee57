"""An edit with one text field changed, whether it came as a form or as JSON."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.edit import Edit
from gateway.wire.json_cutter import compact, plain_parse


def with_field(edit: Edit, name: str, value: str | None) -> Edit:
    """The edit with this value of the field; None: without the field."""
    more = {} if value is None else {name: value}
    fields = (*(field for field in edit.fields if field[0] != name), *more.items())
    document = edit.document
    if document:
        members = plain_parse(document)
        members.pop(name, None)
        document = compact({**members, **more}).encode("ascii")
    return replace(edit, fields=fields, document=document)


def with_model(edit: Edit, name: str) -> Edit:
    """The edit of another model."""
    return edit if edit.model == name else replace(with_field(edit, "model", name), model=name)
