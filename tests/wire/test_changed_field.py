"""An edit with one field changed, as a form and as JSON."""

from __future__ import annotations

import json

from gateway.model.edit import Edit
from gateway.wire.changed_field import with_field, with_model

FORM = Edit("edits", "gpt", (("model", "gpt"), ("prompt", "grey"), ("size", "auto")))
DOCUMENT = Edit(
    "generations",
    "gpt",
    (("model", "gpt"), ("prompt", "grey")),
    document=b'{"model": "gpt", "n": 2, "prompt": "grey"}',
)


def test_the_same_model_changes_nothing() -> None:
    assert with_model(FORM, "gpt") is FORM


def test_a_model_has_another_name_in_a_form_and_in_a_document() -> None:
    assert dict(with_model(FORM, "img-prod").fields) == {**dict(FORM.fields), "model": "img-prod"}
    renamed = with_model(DOCUMENT, "img-prod")
    assert renamed.model == dict(renamed.fields)["model"] == "img-prod"
    assert json.loads(renamed.document) == {"model": "img-prod", "n": 2, "prompt": "grey"}


def test_a_field_is_taken_out() -> None:
    assert with_field(FORM, "size", None).fields == FORM.fields[:2]
    assert json.loads(with_field(DOCUMENT, "n", None).document) == {
        "model": "gpt",
        "prompt": "grey",
    }
