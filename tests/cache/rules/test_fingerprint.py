"""The law of the fingerprint: the same edit is the same key, another edit another key."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache.rules.fingerprint import (
    GENERATIONS_OFF,
    Sharing,
    fingerprint,
    previous_keys,
)
from gateway.model.edit import AdapterFacts, Edit
from gateway.uploads.uploaded_file import digest
from gateway.upstream.rules.adapter_facts import adapter_facts
from gateway.wire.multipart_writer import outgoing_fields, outgoing_members, outgoing_uploads
from gateway.wire.request_fields import with_lf
from tests.support.bodies import (
    FormPart,
    data_url,
    document,
    file,
    form,
    form_type,
    png,
    read,
    text,
    usual,
)

FACTS = AdapterFacts()
SHARING = Sharing("team:a", "deepshi")


def key(edit: Edit, facts: AdapterFacts = FACTS, **sharing: str) -> str:
    made = fingerprint(edit, replace(SHARING, **sharing), digest=digest, facts=facts)
    return made.key


@dataclass(frozen=True)
class Wanted:
    """An edit as a person means it."""

    prompt: str
    images: tuple[bytes, ...]
    mask: bytes | None
    n: int | None
    others: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]


PRINTED = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
IMAGES = st.binary(max_size=80).map(png)
NAMES = st.sampled_from(["size", "quality", "background", "style", "seed", "aspect_ratio", "new"])
WANTED = st.builds(
    Wanted,
    prompt=PRINTED,
    images=st.lists(IMAGES, min_size=1, max_size=4).map(tuple),
    mask=st.none() | IMAGES,
    n=st.none() | st.integers(1, 10),
    others=st.dictionaries(NAMES, PRINTED, max_size=4).map(lambda d: tuple(d.items())),
    tags=st.lists(PRINTED, max_size=3).map(tuple),
)


def by_form(wanted: Wanted, data: st.DataObject) -> Edit:
    """One of the many forms that mean this edit."""
    names = data.draw(st.sampled_from(["image", "image[]", "image[{}]", "mixed"]))
    types = st.sampled_from([None, "image/png", "application/octet-stream", "image/jpeg"])
    file_names = st.sampled_from(["a.png", "upload", "größe.PNG", "-", "x%22y.webp"])

    def as_file(name: str, content: bytes) -> FormPart:
        return FormPart(name, content, data.draw(file_names), data.draw(types))

    def named(place: int) -> str:
        return ("image", "image[]")[place % 2] if names == "mixed" else names.format(place)

    single = [text("model", "m"), text("prompt", wanted.prompt)]
    single += [text(name, value) for name, value in wanted.others]
    if wanted.n is not None:
        single.append(
            text("n", data.draw(st.sampled_from(["{}", "{}.0", "{}e0"])).format(wanted.n))
        )
    if wanted.mask is not None:
        single.append(as_file("mask", wanted.mask))
    for noise in ("user", "safety_identifier", "partial_images", "stream"):
        if data.draw(st.booleans()):
            single.append(text(noise, "1"))
    lists = [
        [as_file(named(place), image) for place, image in enumerate(wanted.images)],
        [text("tags[]", tag) for tag in wanted.tags],
    ]
    parts = merged(data.draw(st.permutations(single)), lists, data)
    boundary = data.draw(st.from_regex(r"[0-9a-f]{24,60}", fullmatch=True))
    sizes = data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=4))
    return read(form(parts, boundary), form_type(boundary), sizes=sizes)


def merged(
    single: list[FormPart], lists: list[list[FormPart]], data: st.DataObject
) -> list[FormPart]:
    """All parts, those of a list in their order and everything else anywhere."""
    merged_parts = list(single)
    for ordered in lists:
        at = 0
        for part in ordered:
            at = data.draw(st.integers(at, len(merged_parts)))
            merged_parts.insert(at, part)
            at += 1
    return merged_parts


def by_json(wanted: Wanted, data: st.DataObject) -> Edit:
    """The same edit as JSON with data URLs."""
    members: dict[str, object] = {"model": "m", "prompt": wanted.prompt, **dict(wanted.others)}
    members["images"] = [{"image_url": data_url(image)} for image in wanted.images]
    if wanted.mask is not None:
        members["mask"] = {"image_url": data_url(wanted.mask)}
    if wanted.n is not None:
        members["n"] = data.draw(st.sampled_from([int, float, str]))(wanted.n)
    if wanted.tags:
        members["tags"] = list(wanted.tags)
    order = data.draw(st.permutations(sorted(members)))
    body = json.dumps(
        {name: members[name] for name in order}, ensure_ascii=data.draw(st.booleans())
    ).encode()
    if data.draw(st.booleans()):
        body = body.replace(b"/", b"\\/")
    return read(
        body, "application/json", sizes=data.draw(st.sampled_from([(7,), (64, 5), (10**6,)]))
    )


@settings(max_examples=40)
@given(WANTED, st.data())
def test_every_encoding_of_an_edit_has_one_fingerprint(wanted: Wanted, data: st.DataObject) -> None:
    assert key(by_form(wanted, data)) == key(by_form(wanted, data)) == key(by_json(wanted, data))


@settings(max_examples=50)
@given(WANTED, WANTED, st.data())
def test_two_edits_that_differ_never_share_a_fingerprint(
    one: Wanted, other: Wanted, data: st.DataObject
) -> None:
    same = plain(one) == plain(other)
    assert (key(by_form(one, data)) == key(by_form(other, data))) is same


def plain(wanted: Wanted) -> tuple[object, ...]:
    """An edit without the differences of spelling."""
    others = {name: with_lf(value) for name, value in wanted.others}
    tags = [with_lf(tag) for tag in wanted.tags]
    return with_lf(wanted.prompt), wanted.images, wanted.mask, wanted.n or 1, others, tags


@settings(max_examples=50)
@given(WANTED, st.data())
def test_any_one_change_gives_another_fingerprint(wanted: Wanted, data: st.DataObject) -> None:
    changed = data.draw(
        st.sampled_from(
            [
                replace(wanted, prompt=wanted.prompt + " "),
                replace(wanted, images=(*wanted.images, wanted.images[0])),
                replace(wanted, images=(flipped(wanted.images[0]), *wanted.images[1:])),
                replace(wanted, mask=png(b"another mask") if wanted.mask is None else None),
                replace(wanted, n=(wanted.n or 1) + 1),
                replace(wanted, others=(*wanted.others, ("resolution", "2k"))),
                replace(wanted, tags=(*wanted.tags, "x")),
            ]
        )
    )
    assert key(by_form(wanted, data)) != key(by_form(changed, data))


def flipped(image: bytes) -> bytes:
    image += b"\0"
    return image[:-1] + bytes([image[-1] ^ 1])


def test_the_order_of_references_counts() -> None:
    one, other = png(b"1"), png(b"2")
    assert key(read(form(usual(one, other)))) != key(read(form(usual(other, one))))


def test_the_order_of_a_lists_values_counts_and_that_of_fields_does_not() -> None:
    tags = [text("tags[]", "a"), text("tags[]", "b")]
    first = key(read(form([*usual(), *tags])))
    assert key(read(form([*tags, *usual()]))) == first
    assert key(read(form([*usual(), *reversed(tags)]))) != first


def test_references_numbered_out_of_order_are_not_taken_for_a_list() -> None:
    """An upstream may sort them by number, so arrival alone does not say what is meant."""

    def numbered(*places: int) -> Edit:
        parts = [FormPart(f"image[{p}]", png(bytes([at])), "x") for at, p in enumerate(places)]
        return read(form([text("model", "m"), text("prompt", "p"), *parts]))

    listed = read(
        form(
            [text("model", "m"), text("prompt", "p")]
            + [FormPart("image[]", png(bytes([at])), "x") for at in range(2)]
        )
    )
    assert key(numbered(0, 1)) == key(listed)
    assert key(numbered(1, 0)) != key(listed)


@pytest.mark.parametrize("change", ["scope", "upstream", "variant", "model", "route"])
def test_who_shares_and_what_makes_the_picture_are_part_of_it(change: str) -> None:
    edit = read(form(usual()))
    others = {
        "scope": lambda: key(edit, scope="team:b"),
        "upstream": lambda: key(edit, upstream="other"),
        "variant": lambda: key(edit, variant="2"),
        "model": lambda: key(replace(edit, model="other")),
        "route": lambda: key(replace(edit, route="generations")),
    }
    assert others[change]() != key(edit)


def test_texts_cannot_run_into_each_other() -> None:
    edit = read(form(usual()))
    assert key(edit, scope="ab", upstream="c") != key(edit, scope="a", upstream="bc")
    one = replace(edit, fields=(*edit.fields, ("a", "b"), ("c", "d")))
    other = replace(edit, fields=(*edit.fields, ("a", "bcd")))
    assert key(one) != key(other)


def test_a_mask_is_not_a_reference_nor_another_file() -> None:
    edit = read(form([*usual(png(b"1")), FormPart("mask", png(b"2"), "m.png")]))
    markup = read(form([*usual(png(b"1")), FormPart("markup", png(b"2"), "m.png")]))
    reference = read(form(usual(png(b"1"), png(b"2"))))
    assert len({key(edit), key(markup), key(reference)}) == 3


def test_the_key_is_short_versioned_and_fit_for_a_header() -> None:
    made = key(read(form(usual(prompt="ünïcode\r\n"))))
    assert made.startswith("v2-")
    assert len(made) == 67
    assert made.isascii()


def test_the_key_of_a_known_edit_never_changes_within_a_version() -> None:
    edit = read(form(usual(png(b"fixed"), size="1024x1024", n="1")))
    v1 = "v1-ac723448250494aab0e37f2b1cef144407c72491b4ff10a76b5d46a4ef81b0e8"
    assert key(edit) == "v2-280e864f445ffc0b13d9db270cab26c0cbb003a4bb040f319df307f70499a524"
    assert previous_keys(edit, SHARING, digest) == (v1,)


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\n"])
def test_line_ends_are_lf_in_the_key_and_upstream(line_end: str) -> None:
    written = [f"one{line_end}two", f"a{line_end}"]
    by_form = read(form(usual(prompt=written[0], note=written[1])))
    by_json = read(
        document(
            model="deepshi-image-1",
            prompt=written[0],
            note=written[1],
            images=[{"image_url": data_url(png())}],
        ),
        "application/json",
    )
    usual_key = key(read(form(usual(prompt="one\ntwo", note="a\n"))))
    assert key(by_form) == key(by_json) == usual_key
    for edit in (by_form, by_json):
        assert dict(outgoing_fields(edit, FACTS)) == {
            "model": "deepshi-image-1",
            "prompt": "one\ntwo",
            "note": "a\n",
        }
    made = generated(note=[written[1], {"\\": r"\r"}], style=written[0])
    assert key(made) == key(generated(note=["a\n", {"\\": r"\r"}], style="one\ntwo"))
    assert outgoing_members(made, FACTS)["note"] == ["a\n", {"\\": r"\r"}]


@pytest.mark.parametrize("fields", [
    {"n": "1"}, {"n": "1.0"}, {"n": ""}, {"size": ""}, {"quality": "", "user": ""},
    {"response_format": "b64_json"}, {"response_format": ""},
])  # fmt: skip
def test_a_default_that_is_sent_is_the_default_that_is_not(fields: dict[str, str]) -> None:
    edit, absent = read(form(usual(**fields))), read(form(usual()))
    assert key(edit) == key(absent)
    assert edit.n == 1
    assert "" not in dict(outgoing_fields(edit, FACTS)).values()


def test_documented_defaults_are_those_of_the_upstream() -> None:
    auto = read(form(usual(size="auto", quality="auto", output_format="png")))
    absent = read(form(usual()))
    assert key(auto) != key(absent)
    for url in ("https://api.openai.com/v1", "https://eu.openai.azure.com/openai"):
        assert key(auto, adapter_facts(url)) == key(absent, adapter_facts(url))
    assert adapter_facts("https://api.openai.com.example.org/v1") == FACTS
    openai = adapter_facts("https://api.openai.com/v1")
    spoken = generated(n=1, size="auto", quality=None, response_format="b64_json")
    assert key(spoken, openai) == key(generated(), openai)
    assert key(read(form(usual(seed=""))), openai) != key(absent, openai)


def test_a_request_for_links_has_a_key_of_its_own() -> None:
    """Its answer is never stored, and whoever wants bytes must not join its flight."""
    assert key(read(form(usual(response_format="url")))) != key(read(form(usual())))
    assert key(generated(response_format="url")) != key(generated())
    assert key(read(form(usual(response_format="URL")))) != key(read(form(usual())))


def test_the_previous_keys_of_two_lines_are_those_of_every_line_end() -> None:
    keys = [
        previous_keys(read(form(usual(prompt=f"one{end}two"))), SHARING, digest)
        for end in ("\r\n", "\n")
    ]
    assert set(keys[0]) == set(keys[1])
    assert keys[0][0] != keys[1][0]


def test_generations_are_uncacheable_unless_the_settings_say_otherwise() -> None:
    edit = read(document(model="m", prompt="p"), "application/json", route="generations")

    def made(cached: bool) -> str | None:
        return fingerprint(
            edit, SHARING, digest=digest, facts=FACTS, cache_generations=cached
        ).uncacheable

    assert made(cached=False) == GENERATIONS_OFF
    assert made(cached=True) is None


def generated(**members: object) -> Edit:
    body = document(model="m", prompt="p", **members)
    return read(body, "application/json", route="generations")


def test_a_generation_is_told_apart_by_the_types_that_are_sent() -> None:
    values = [1, "1", True, "true", None, [1], ["1"], "[1]", {}, [], ""]
    edits = [generated(), *(generated(seed=value) for value in values)]
    assert len({key(edit) for edit in edits}) == len(edits)
    assert key(generated(n=2)) == key(read(
        b'{"n": 2.0, "prompt": "p", "model": "m"}', "application/json", route="generations"
    ))  # fmt: skip
    assert key(generated(n=2)) != key(generated(n="2"))


def test_a_generation_in_a_form_is_not_the_one_in_json() -> None:
    parts = [text("model", "m"), text("prompt", "p"), text("n", "1")]
    assert key(read(form(parts), route="generations")) != key(generated(n=1))


def test_a_name_that_is_half_a_character_is_no_crash() -> None:
    body = b'{"model": "m", "prompt": "p", "\\ud800": null}'
    assert key(read(body, "application/json", route="generations")) != key(generated())


def test_members_of_one_field_keep_their_order() -> None:
    def layered(*names: str) -> str:
        return key(read(form([*usual(), *(text(f"layers[][{n}]", "1") for n in names)])))

    assert layered("x", "y", "x") != layered("x", "x", "y")


def test_equal_keys_are_equal_bodies_upstream() -> None:
    """Whatever was written differently is sent in one way, or has another key."""
    one = [text("n", "1.0"), text("width", "64.0"), text("a[]", "1"), file("image", png())]
    other = [text("a[]", "1"), file("image[]", png()), text("width", "64"), text("n", "1")]
    edits = [
        read(form([text("model", "m"), text("prompt", "p"), *parts])) for parts in (one, other)
    ]
    assert key(edits[0]) == key(edits[1])
    sent = [
        (outgoing_fields(edit, FACTS), [u.field for u in outgoing_uploads(edit)]) for edit in edits
    ]
    assert sent[0] == sent[1]


def test_what_is_no_part_of_the_key_has_a_digest_of_its_own() -> None:
    def extra_digest(**fields: str) -> str:
        edit = read(form(usual(**fields)))
        return fingerprint(edit, SHARING, digest=digest, facts=FACTS).extra_digest

    assert extra_digest() == extra_digest(size="1x1") == ""
    found = [
        extra_digest(user="a"),
        extra_digest(user="b"),
        extra_digest(safety_identifier="a"),
        extra_digest(stream="true"),
    ]
    assert len({*found, ""}) == 5
    assert extra_digest(stream="1") == extra_digest(stream="TRUE")


def test_a_generations_nested_members_are_part_of_it() -> None:
    def generation(**members: object) -> str:
        body = document(model="m", prompt="p", **members)
        return key(read(body, "application/json", route="generations"))

    made = {
        generation(),
        generation(style={"a": [1]}),
        generation(style={"a": [1, 2]}),
        generation(style=[{"a": 1}, {"b": 2}]),
        generation(style=[{"a": 1, "b": 2}]),
    }
    assert len(made) == 5
