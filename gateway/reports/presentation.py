"""A report as a mail, and as the message that is posted to a webhook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

from gateway.alerts.rules.mail_content import AttachedCsv, MailContent, MailTable, mail_of
from gateway.alerts.rules.thresholds import plain
from gateway.queries.csv_table import CsvStyle, cell_text
from gateway.queries.models.read_model import Json
from gateway.queries.models.usage import UsageView
from gateway.queries.usage_report import table_of
from gateway.reports.report import Report

MOST_LINES = 100
"""Of each table in a mail; its CSV has all of them."""
_COLUMNS: Mapping[str, str] = {
    "spent_usd": "Spent $", "paid_calls": "Paid calls", "images": "Pictures", "calls": "Requests",
    "hits": "Hits", "saved_usd": "Saved $",
}  # fmt: skip
_CSV = CsvStyle(byte_order_mark=True)


def report_mail(report: Report, console_url: str) -> MailContent:
    """HTML and text of every table, and a CSV file of each."""
    asked = report.asked
    subject = f"Image edits {_range(report)}, {_whose(report)}: ${_spent(report)} spent"
    zone = f"Days are those of booking in {asked.timezone}. Amounts are exact, as in the ledger."
    notes = dict.fromkeys(note for table in report.tables for note in table.notes)
    return mail_of(
        subject,
        [summary(report), zone, *notes],
        [_table(each) for each in report.tables],
        link=_link(report, console_url),
        attachments=[_attachment(report, each) for each in report.tables],
    )


def report_message(report: Report, console_url: str) -> dict[str, object]:
    """The facts of a report, with the lines of its tables as `gateway usage --json` has them."""
    asked, link = report.asked, _link(report, console_url)
    facts = {
        "text": summary(report) + (f" See {link}." if link else ""),
        "level": asked.account.level,
        "name": asked.account.name,
        "team": asked.team,
        "owner": asked.account.settings.owner or None,
        "from": asked.days.first_day,
        "to": asked.days.last_day,
        "timezone": asked.timezone,
        "total": report.total.row(),
        "tables": {
            each.by: [line.row() for line in each.data[:MOST_LINES]] for each in report.tables
        },
        "lines_left_out": {
            each.by: left for each in report.tables if (left := len(each.data) - MOST_LINES) > 0
        },
        "url": link or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def summary(report: Report) -> str:
    """The report in a few sentences."""
    asked, total = report.asked, report.total.row()
    days, spent_before = asked.days_before, report.before.row()["spent_usd"]
    who = f"The team {plain(asked.team)}" if asked.team else "The organisation"
    text = (
        f"{who} spent ${total['spent_usd']} on {total['images']} pictures in "
        f"{total['paid_calls']} paid calls from {_range(report)} (${spent_before} from "
        f"{days.first_day} to {days.last_day}). Of {total['calls']} requests, "
        f"{total['hits']} were answered with stored pictures; ${total['saved_usd']} was saved."
    )
    if total["estimated_calls"]:
        text += f" ${total['estimated_usd']} of it is estimated."
    return text


def _table(view: UsageView) -> MailTable:
    columns, rows = table_of(view, total=True)
    names = [name for name in columns if name in view.by or name == "name"]
    if "name" in names and "key" in names:
        names.remove("key")  # TEAM/NAME says more than the id
    *lines, total = rows
    shown = [_cells(line, names) for line in lines[:MOST_LINES]]
    if left := len(lines) - len(shown):
        shown.append([f"{left} more in the CSV", *[""] * (len(names) + len(_COLUMNS) - 1)])
    last = _cells(total, names)
    last[0] = "Total"
    columns_of_cells = zip(*shown, last, strict=True)
    head = [*(_title(view.by) for _ in names), *_COLUMNS.values()]
    return MailTable(
        head=head,
        rows=[*zip(*map(_aligned, head, columns_of_cells), strict=True)],
        title=f"By {view.by.replace('_', ' ')}",
        numbers=frozenset(range(len(names), len(names) + len(_COLUMNS))),
        last_is_total=True,
    )


def _aligned(title: str, cells: Sequence[str]) -> Sequence[str]:
    """Amounts with as many decimals as the longest of their column."""
    if "$" not in title:
        return cells
    decimals = max(2, *(len(cell.partition(".")[2]) for cell in cells))
    return [
        f"{whole}.{fraction.ljust(decimals, '0')}" if whole else ""
        for whole, _, fraction in (cell.partition(".") for cell in cells)
    ]


def _cells(row: Json, names: Iterable[str]) -> list[str]:
    return [cell_text(row.get(name)) for name in (*names, *_COLUMNS)]


def _attachment(report: Report, view: UsageView) -> AttachedCsv:
    days = report.asked.days
    name = f"usage-by-{view.by}-{days.first_day}-to-{days.last_day}.csv"
    return AttachedCsv(name, _CSV.text(*table_of(view)))


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _range(report: Report) -> str:
    days = report.asked.days
    return f"{days.first_day} to {days.last_day}"


def _whose(report: Report) -> str:
    team = report.asked.team
    return f"team {team}" if team else "organisation"


def _spent(report: Report) -> str:
    return str(report.total.row()["spent_usd"])


def _link(report: Report, console_url: str) -> str:
    days, team = report.asked.days, report.asked.team
    query = {"from": days.first_day, "to": days.last_day} | ({"team": team} if team else {})
    return f"{console_url}/spend?{urlencode(query)}" if console_url else ""
