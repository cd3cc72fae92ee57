"""What is kept of an edit, and which edits are versions of one another."""

from __future__ import annotations

from dataclasses import replace

from gateway.gallery.rules.sent_edit import SentEdit, SentFile, as_form, read_back, written
from gateway.wire.pictures import picture_at

EDIT = SentEdit(
    fields=(
        ("model", "m"),
        ("prompt", "grün \ud83d"),
        ("user", "ada"),
        ("stream", "true"),
        ("size", "auto"),
    ),
    files=(SentFile("image[]", "d1"), SentFile("mask", "d2")),
    read=lambda: [b"one\x00", b"two"],
    end_user="ada",
    variant="",
    team_keeps="",
)


def test_all_keeps_what_was_sent_but_who_it_was_for() -> None:
    body = written(EDIT, "all")
    kept = read_back(body)

    assert kept.prompt == "grün \ud83d"
    assert [name for name, _ in kept.fields] == ["model", "prompt", "size"]
    assert kept.files == (("image[]", b"one\x00"), ("mask", b"two"))
    assert picture_at(body, 0) == b"one\x00"


def test_prompts_keep_no_picture() -> None:
    kept = read_back(written(EDIT, "prompts"))

    assert ([name for name, _ in kept.fields], kept.files) == (["model", "prompt"], ())


def test_versions_of_an_edit_are_one_family() -> None:
    assert replace(EDIT, variant="2", end_user="bob").family == EDIT.family
    assert replace(EDIT, fields=EDIT.fields[::-1]).family == EDIT.family
    assert replace(EDIT, fields=EDIT.fields[:1]).family != EDIT.family
    assert replace(EDIT, files=EDIT.files[::-1]).family != EDIT.family


def test_it_is_sent_again_as_a_form() -> None:
    kept = read_back(written(replace(EDIT, fields=(("prompt", "grün"),)), "all"))

    assert as_form(kept, "b") == (
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + "grün".encode() + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="image[]"; filename="0"\r\n\r\none\x00\r\n'
        b'--b\r\nContent-Disposition: form-data; name="mask"; filename="1"\r\n\r\ntwo\r\n--b--\r\n'
    )
