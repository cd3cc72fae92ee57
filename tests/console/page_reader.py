"""A page as a browser reads it: its links, its forms, its words, and what in it could run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from gateway.console.page_table import PAGES

_ADDRESSES = ("href", "src", "action", "formaction")
TYPED = ("text", "date", "textarea")
_ROUTES = {
    route: re.compile(f"{method} {re.sub(r'{[^}]+}', '[^/]+', path)}")
    for route in PAGES
    for method, path in [route.split()]
}


def route_of(method: str, path: str) -> str:
    """The row of the table of pages that answers; "" if none does."""
    asked = f"{method} {path.partition('?')[0]}"
    return next((route for route, form in _ROUTES.items() if form.fullmatch(asked)), "")


@dataclass
class Field:
    name: str
    kind: str
    value: str


@dataclass
class ReadForm:
    method: str
    action: str
    multipart: bool
    fields: list[Field] = field(default_factory=list)

    @property
    def route(self) -> str:
        return route_of(self.method, self.action)

    @property
    def typed(self) -> list[str]:
        """The names of the fields that people type into."""
        return [each.name for each in self.fields if each.kind in TYPED]

    def filled(self, text: str) -> dict[str, str]:
        """What is sent if this is typed into every field."""
        fields = (each for each in self.fields if each.kind not in ("file", "checkbox"))
        return {each.name: text if each.kind in TYPED else each.value for each in fields}


class ReadPage(HTMLParser):
    """`address` is the page's own, from which its links are resolved."""

    def __init__(self, address: str, text: str) -> None:
        super().__init__()
        self.address = address
        self.links: list[str] = []
        self.forms: list[ReadForm] = []
        self.words: list[str] = []
        """Its text, and the values of all attributes."""
        self.runs: list[str] = []
        """What could run a script, but for the console's own files."""
        self._textarea: Field | None = None
        self.feed(text)
        self.close()

    def says(self, text: str) -> bool:
        return any(text in each for each in self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.words += given.values()
        self.runs += self._dangers(tag, given)
        if tag == "a":
            self.links.append(self._link(given.get("href", "")))
        elif tag == "form":
            method = given.get("method", "get").upper()
            action = self._link(given.get("action", self.address))
            self.forms.append(ReadForm(method, action, "multipart" in given.get("enctype", "")))
        elif "formaction" in given:
            whole = self.forms[-1]
            action = self._link(given["formaction"])
            self.forms.append(ReadForm(whole.method, action, whole.multipart, whole.fields))
        elif tag in ("input", "select", "textarea") and self.forms and "name" in given:
            kind = given.get("type", "text") if tag == "input" else tag
            made = Field(given["name"], kind, given.get("value", ""))
            self.forms[-1].fields.append(made)
            self._textarea = made if tag == "textarea" else None
        elif tag == "option" and self.forms:
            chosen = self.forms[-1].fields[-1]
            chosen.value = given["value"] if "selected" in given else chosen.value or given["value"]

    def handle_endtag(self, tag: str) -> None:
        self._textarea = None if tag == "textarea" else self._textarea

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._textarea:
            self._textarea.value += data

    def _link(self, href: str) -> str:
        return urljoin(self.address, href)

    @staticmethod
    def _dangers(tag: str, given: dict[str, str]) -> Iterator[str]:
        own = given.get("src", "").startswith("/console/")
        if tag in ("iframe", "object", "embed", "base", "style") or (tag == "script" and not own):
            yield tag
        if tag == "img" and not own:
            yield f"img {given.get('src')}"
        for name, value in given.items():
            if name.startswith("on") or name in ("style", "srcdoc"):
                yield name
            scheme = re.match(r"\W*(\w+):", value) if name in _ADDRESSES else None
            if scheme and scheme[1] not in ("http", "https"):
                yield f"{name} {value}"
