"""Selections: every filter narrows, and they narrow together."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.rules.entry import Entry
from gateway.cache.rules.purge_selection import Selection
from tests.support.results import NOW_MS, PLAIN, entry_of

TEXTS = st.sampled_from(["a", "b", ""])
FILTERS = st.one_of(st.none(), TEXTS)
ENTRIES = st.builds(
    lambda key, team, key_id, model, created_ms, references: replace(
        PLAIN, key=key, team=team, key_id=key_id, model=model, created_ms=created_ms,
        references=references,
    ),
    TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 3), st.lists(TEXTS, max_size=3).map(tuple),
)  # fmt: skip
SELECTIONS = st.builds(
    Selection,
    fingerprint=FILTERS,
    team=FILTERS,
    key_id=FILTERS,
    model=FILTERS,
    made_before_ms=st.one_of(st.none(), st.integers(0, 4)),
    picture=FILTERS,
)


@given(SELECTIONS, ENTRIES)
def test_what_matches_matches_every_filter_by_itself(selection: Selection, entry: Entry) -> None:
    alone = [
        Selection(**{field.name: getattr(selection, field.name)}) for field in fields(Selection)
    ]
    assert selection.matches(entry) == all(each.matches(entry) for each in alone)


@given(ENTRIES)
def test_without_a_filter_everything_matches(entry: Entry) -> None:
    assert Selection().matches(entry)


def test_each_filter_is_about_its_own_fact() -> None:
    entry = entry_of(b"x", "v1-a", team="t", key_id="k", model="m", references=("p", "q"))
    assert all(
        selection.matches(entry)
        for selection in (
            Selection(fingerprint="v1-a"),
            Selection(team="t"),
            Selection(key_id="k"),
            Selection(model="m"),
            Selection(made_before_ms=NOW_MS + 1),
            Selection(picture="p"),
            Selection(picture="q"),
        )
    )
    assert not any(
        selection.matches(entry)
        for selection in (
            Selection(fingerprint="v1"),
            Selection(team="k"),
            Selection(key_id="t"),
            Selection(model="t"),
            Selection(made_before_ms=NOW_MS),
            Selection(picture="v1-a"),
            Selection(team=""),
        )
    )


def test_a_selection_is_written_down_by_the_names_that_people_know() -> None:
    assert Selection().facts() == {"all": True}
    assert Selection(team="", key_id="k", made_before_ms=NOW_MS, picture="p").facts() == {
        "team": "",
        "key": "k",
        "made_before": "2027-01-15T08:00:00Z",
        "containing": "p",
    }
