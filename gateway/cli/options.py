"""Options that several commands share, and the settings of an account as options."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.accounts.rules.account_settings import change_settings, fields_of
from gateway.accounts.rules.field_types import FLAG, SWITCH, TAGS, AccountField
from gateway.accounts.rules.organisation_file import NONE
from gateway.accounts.tables.accounts import Edit
from gateway.cli import completion
from gateway.cli.state_access import author, clock_of, settings_of
from gateway.model.caller import Level
from gateway.model.units import seconds_of
from gateway.model.windows import day_of, month_days
from gateway.queries.csv_table import DECIMALS, SEPARATORS, CsvStyle, csv_style
from gateway.settings import Settings, SettingsError

Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")
EVERY = 10**9
_WORDS: Mapping[str, bool] = {"true": True, "false": False, "yes": True, "no": False}

_CONFIG: dict[str, Any] = {
    "type": click.Path(path_type=Path, exists=True),
    "help": "Settings file (default: GATEWAY_CONFIG, or config/gateway.toml if it exists).",
}
config_option = click.option("--config", **_CONFIG)
settings_option = click.option(
    "--config",
    "settings",
    callback=lambda _context, _option, file: settings_of(file),
    **_CONFIG,
)
"""`--config`, for commands that take the settings that it names."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option = click.option(
    "--reason",
    "by",
    default="",
    callback=lambda _context, _option, reason: author(reason),
    help="Reason, kept in the audit.",
)
"""`--reason`, as the author of the change."""
team_option = click.option(
    "--team", default=None, shell_complete=completion.TEAMS, help="Only this team."
)


def id_of_kind(prefix: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """A callback that refuses what is no id with this prefix."""

    def check(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(f"{prefix}_[0-9a-f]+(-undo)?", text):
            raise click.BadParameter(f"{text!r} is not an id such as {prefix}_0123abcd")
        return text

    return check


yes_option = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


def stacked(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator for several, the first on top."""

    def decorate(command: Command) -> Command:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), command)

    return decorate


def csv_style_options(command: Command) -> Any:
    """How CSV is written, as one `style`; None where nothing is said of it."""

    @functools.wraps(command)
    def with_style(
        csv_separator: str | None,
        csv_decimal: str | None,
        csv_bom: bool,
        csv_raw: bool,
        **rest: Any,
    ) -> None:
        said = csv_separator or csv_decimal or csv_bom or csv_raw
        style = csv_style(csv_separator, csv_decimal or "point", bom=csv_bom, raw=csv_raw)
        command(**rest, style=style if said else None)

    return stacked(
        click.option(
            "--csv-separator", type=click.Choice(list(SEPARATORS)),
            help="Separator of cells (default: comma, or semicolon beside a decimal comma).",
        ),
        click.option(
            "--csv-decimal", type=click.Choice(list(DECIMALS)),
            help="Decimal sign of numbers (default: point).",
        ),
        click.option("--csv-bom", is_flag=True, help="Begin with a byte order mark, for Excel."),
        click.option(
            "--csv-raw", is_flag=True,
            help="Write texts as they are, for programs. By default an apostrophe is put before "
            "a text that a spreadsheet would take for a formula.",
        ),
    )(with_style)  # fmt: skip


def csv_options(command: Command) -> Any:
    """`--csv` and its style, as one `as_csv`; None where another form is asked for."""

    @functools.wraps(command)
    def with_csv(as_csv: bool, style: CsvStyle | None, **rest: Any) -> None:
        if style and not as_csv:
            raise click.UsageError("--csv-… options say how --csv is written: give --csv too")
        command(**rest, as_csv=(style or CsvStyle()) if as_csv else None)

    flag = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
    return flag(csv_style_options(with_csv))


read_options = stacked(settings_option, json_option)
report_options = stacked(settings_option, csv_options, json_option)
change_options = stacked(reason_option, settings_option, json_option)


@dataclass(frozen=True, slots=True)
class ListedPart:
    """The part of a listing that is asked for: at most `limit` rows, from after a cursor."""

    limit: int | None
    after: str

    @property
    def fetch(self) -> int:
        """One row more than is shown, which tells that more follow."""
        return EVERY if self.limit is None else self.limit + 1

    def empty(self, text: str) -> str:
        """What is said where nothing was found; `text` is of an empty listing."""
        return f"Nothing follows {self.after}." if self.after else text

    def shown(self, found: Sequence[Item], cursor: Callable[[Item], object]) -> Sequence[Item]:
        """The rows to show; says on stderr where more follow."""
        if self.limit is None or len(found) <= self.limit:
            return found
        say_more(cursor(found[self.limit - 1]))
        return found[: self.limit]

    def cut(self, found: Sequence[Item], cursor: Callable[[Item], object]) -> Sequence[Item]:
        """The rows to show of a listing that was read whole. Raises BadParameter."""
        begin = 0
        if self.after:
            cursors = [str(cursor(item)) for item in found]
            if self.after not in cursors:
                raise click.BadParameter("no such row is listed", param_hint="--after")
            begin = cursors.index(self.after) + 1
        return self.shown(found[begin:][: self.fetch], cursor)


def say_more(last: object) -> None:
    """Say that a listing is cut after the row of this cursor."""
    click.echo(f"More rows follow: --after {last} lists them, --all lists all.", err=True)


def listing_options(command: Command) -> Any:
    """Settings, output, and the part of a listing, as one `part`."""

    @functools.wraps(command)
    def with_part(limit: int, after: str, everything: bool, **options: Any) -> None:
        command(**options, part=ListedPart(None if everything else limit, after))

    return stacked(
        click.option(
            "--limit", type=click.IntRange(1, EVERY), default=1000, show_default=True,
            help="Maximum number of rows.",
        ),
        click.option("--after", default="", help="List the rows after this one."),
        click.option("--all", "everything", is_flag=True, help="List all rows."),
        report_options,
    )(with_part)  # fmt: skip


range_options = stacked(
    click.option(
        "--from", "since", default=None,
        help="First day (default: the first of the month of the last day).",
    ),
    click.option("--to", default=None, help="Last day (default: today)."),
)  # fmt: skip
"""Of a report; this month if neither is given."""


@dataclass(frozen=True, slots=True)
class DateRange:
    """The first and the last day of a report, in the settings' time zone."""

    first_day: str
    last_day: str


def upstream_of(settings: Settings, given: str | None) -> str:
    """The upstream that a command concerns: the given one, or the only one."""
    try:
        return settings.upstream_name(given)
    except SettingsError as error:
        raise click.UsageError(f"--upstream: {error}") from None


def range_of(settings: Settings, since: str | None, to: str | None) -> DateRange:
    """The days of `--from` and `--to`; today is the state's. Raises BadParameter."""
    first, last = day_given(since), day_given(to)
    if first is None or last is None:
        from gateway.ledger.tables.reports import days_of_report

        today = day_of(clock_of(settings), settings.zone)
        first, last = days_of_report(today, settings.zone, first, last)
    return _in_order(first, last)


def open_range_of(since: str | None, to: str | None) -> DateRange:
    """The days of `--from` and `--to`, unbounded where one is missing. Raises BadParameter."""
    first, last = day_given(since), day_given(to)
    return _in_order(first or date.min.isoformat(), last or date.max.isoformat())


def month_of(period: str) -> DateRange:
    """The days of a month such as 2026-11. Raises BadParameter."""
    try:
        return DateRange(*month_days(period))
    except ValueError:
        raise click.BadParameter(f"{period!r} is not a month such as 2026-11") from None


def milliseconds_of(text: str, option: str) -> int:
    """A duration such as 24h. Raises BadParameter."""
    try:
        return int(float(str(seconds_of(text))) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def moment_of(text: str | None) -> int:
    """`2026-11-01` or an ISO time as unix milliseconds; 0 where none is given."""
    if not text:
        return 0
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a date such as 2026-11-01") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _in_order(first: str, last: str) -> DateRange:
    if first > last:
        raise click.BadParameter(f"--from {first} is after --to {last}")
    return DateRange(first, last)


def day_given(text: str | None) -> str | None:
    """A day as ISO text; None where none is given. Raises BadParameter."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day such as 2026-11-01") from None


def setting_options(level: Level) -> Callable[[Command], Command]:
    """An option for each setting of this level; the command gets them as one `edit`."""
    fields = fields_of(level)

    def decorate(command: Command) -> Any:
        @functools.wraps(command)
        def with_edit(**options: Any) -> None:
            given = {name: options.pop(name) for name in fields}
            command(**options, edit=_edit_of(level, given))

        return stacked(*map(_option, fields.values()))(with_edit)

    return decorate


def _option(field: AccountField) -> Callable[[Command], Command]:
    if field.type is TAGS:
        return click.option(
            "--tag", field.name, multiple=True, metavar="NAME=TEXT", help=field.help
        )
    return click.option(_flag(field), is_flag=field.type is SWITCH, default=None, help=field.help)


def _edit_of(level: Level, options: Mapping[str, Any]) -> Edit:
    given = {
        name: _value(field, options[name])
        for name, field in fields_of(level).items()
        if options[name] not in (None, ())
    }
    return lambda settings: change_settings(settings, level, given)


def _value(field: AccountField, value: Any) -> object:
    if field.type is TAGS:
        pairs = [tag.partition("=") for tag in value]
        if wrong := [tag for tag, equals, _ in pairs if not equals]:
            raise click.BadParameter(f"write a tag as NAME=TEXT, not {wrong[0]!r}")
        return {tag: text for tag, _, text in pairs}
    if isinstance(value, str) and value.lower() == NONE:
        return None
    if field.type is FLAG:
        if value.lower() not in _WORDS:
            raise click.BadParameter(f"{_flag(field)} takes true or false")
        return _WORDS[value.lower()]
    return value


def _flag(field: AccountField) -> str:
    return "--" + field.name.replace("_", "-")
