"""The content of a mail: subject, text, HTML tables, attachments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_LONGEST_SUBJECT = 150
_CELL = 'style="padding:4px 12px 4px 0;border-bottom:1px solid #ddd;text-align:{}"'
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"></head>'
    '<body style="font:14px/1.5 -apple-system,Segoe UI,Helvetica,Arial,sans-serif;color:#222">'
    "{}</body></html>"
)


@dataclass(frozen=True, slots=True)
class AttachedCsv:
    """A CSV file."""

    name: str
    csv: str


@dataclass(frozen=True, slots=True)
class MailContent:
    """A mail without its sender and recipient. `text` and `html` say the same."""

    subject: str
    text: str
    html: str
    attachments: tuple[AttachedCsv, ...] = ()


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to one recipient. `id` and `at_ms` are the same at every attempt."""

    id: str
    event: str
    recipient: str
    content: MailContent
    at_ms: int


@dataclass(frozen=True, slots=True)
class MailTable:
    """A table of a mail: its head and its rows of cells. Columns in `numbers` are to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numbers: frozenset[int] = frozenset()
    last_is_total: bool = False

    def text(self) -> str:
        lines = [line for line in (self.head, *self.rows) if any(line)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(
                cell.rjust(width) if index in self.numbers else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*([self.title] if self.title else []), *aligned])

    def html(self) -> str:
        rows = [self._row(self.head, "th")] if any(self.head) else []
        rows += [self._row(row, "td") for row in self.rows]
        if self.last_is_total:
            rows[-1] = f'<tbody style="font-weight:bold">{rows[-1]}</tbody>'
        title = f'<h3 style="margin:20px 0 4px">{escape(self.title)}</h3>' if self.title else ""
        width = ";width:100%;max-width:720px" if any(self.head) else ""
        return f'{title}<table style="border-collapse:collapse{width}">{"".join(rows)}</table>'

    def _row(self, cells: Sequence[str], tag: str) -> str:
        def side(index: int) -> str:
            return _CELL.format("right" if index in self.numbers else "left")

        written = (
            f"<{tag} {side(index)}>{escape(cell)}</{tag}>" for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(written)}</tr>"


def mail_of(
    subject: str,
    paragraphs: Iterable[str],
    tables: Sequence[MailTable],
    *,
    link: str = "",
    attachments: Iterable[AttachedCsv] = (),
) -> MailContent:
    """A mail of paragraphs and tables, in text and in HTML."""
    said = [one_line(each) for each in paragraphs]
    end = [link] if link else []
    text = "\n\n".join([*said, *(table.text() for table in tables), *end]) + "\n"
    anchor = [f'<p><a href="{escape(each)}">{escape(each)}</a></p>' for each in end]
    parts = [*(f"<p>{escape(each)}</p>" for each in said), *(each.html() for each in tables)]
    short = one_line(subject)
    if len(short) > _LONGEST_SUBJECT:
        short = f"{short[: _LONGEST_SUBJECT - 1]}…"
    return MailContent(short, text, _PAGE.format("".join([*parts, *anchor])), tuple(attachments))


def alert_mail(message: Mapping[str, object]) -> MailContent:
    """The mail of an alert, from what is posted to its webhook."""
    text, link = str(message["text"]), str(message.get("url", ""))
    said = text.removesuffix(f" See {link}.")
    facts = [
        (name, one_line(_shown(value)))
        for name, value in message.items()
        if name not in ("text", "url")
    ]
    subject = re.split(r"(?<=\.) ", said, maxsplit=1)[0]
    return mail_of(subject, [said], [MailTable(("", ""), facts)], link=link)


def one_line(text: str) -> str:
    """Text without line breaks and other control characters: a header ends at one."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return str(value)
