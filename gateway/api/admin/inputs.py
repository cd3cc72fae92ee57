"""The bodies and the queries that `/admin/v1` takes: each model parses and describes its own.

A description allows every value that may be accepted; a value can still be refused for its
meaning (a name that is taken, a period without a budget).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model, model_validator

from gateway.accounts.rules.account_settings import fields_of
from gateway.accounts.rules.field_types import LARGEST_COUNT, MONTH_DAYS, MOST_MODELS, WEEKDAYS
from gateway.api.admin.input_types import (
    DOLLARS_SCHEMA,
    LINE_SCHEMA,
    Age,
    DayText,
    Decimals,
    Digest,
    Dollars,
    Filled,
    Flag,
    FlagText,
    Grace,
    LevelName,
    Limit,
    Line,
    MomentText,
    MonthText,
    Name,
    OutcomeName,
    Percent,
    RoleName,
    Separator,
    TeamName,
    TitleLines,
)
from gateway.ledger.rules.statement_formats import Dates, Encoding, Granularity, Numbers
from gateway.ledger.rules.statement_lines import Duplicates
from gateway.ledger.rules.statement_options import ReadingOptions
from gateway.ledger.rules.usage_grouping import KNOWN
from gateway.model.caller import KEEPINGS, PERIODS, Level
from gateway.queries.csv_table import CsvStyle, csv_style
from gateway.queries.ledger_export import Form
from gateway.queries.reconciliation import ReconcileOptions


class Query(BaseModel):
    """The parameters of a query."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class PageQuery(Query):
    limit: Limit = 100
    after: Annotated[Line, Field(description="The `next` of the last page.")] = ""

    @property
    def fetch(self) -> int:
        """How many items to read: one more than the page shows whether there are more."""
        return self.limit + 1


class TeamsQuery(PageQuery):
    archived: FlagText = False


class KeysQuery(PageQuery):
    team: Line | None = None
    revoked: FlagText = False


class TokensQuery(PageQuery):
    revoked: FlagText = False


class AuditQuery(PageQuery):
    since: Annotated[MomentText, Field(description="Such as 2026-11-01T00:00:00Z.")] = 0
    subject: Line | None = None
    latest: Annotated[FlagText, Field(description="The latest first.")] = False


class BudgetsQuery(PageQuery):
    team: Line | None = None


class GrantsQuery(BudgetsQuery):
    ended: FlagText = False


class TeamQuery(Query):
    team: Line | None = None


class RangeQuery(Query):
    from_day: DayText | None = Field(None, alias="from")
    to_day: DayText | None = Field(None, alias="to")


class DaysQuery(TeamQuery, RangeQuery):
    pass


class CsvQuery(Query):
    """How CSV is written."""

    separator: Annotated[Separator | None, Field(description="Of cells, in CSV.")] = None
    decimal: Annotated[Decimals, Field(description="The decimal sign, in CSV.")] = "point"
    bom: Annotated[FlagText, Field(description="A byte order mark, in CSV.")] = False
    raw: Annotated[
        FlagText, Field(description="No apostrophe before texts like formulas, in CSV.")
    ] = False

    @property
    def style(self) -> CsvStyle:
        return csv_style(self.separator, self.decimal, bom=self.bom, raw=self.raw)


class UsageQuery(DaysQuery, CsvQuery):
    by: Annotated[
        Line,
        Field(description=f"One or more of {', '.join(KNOWN)}, separated by commas; or paid_by."),
    ] = "team"


class ExportQuery(RangeQuery, CsvQuery):
    form: Annotated[Form, Field(description="What `gateway ledger export` writes.")] = Field(
        "csv", alias="format"
    )
    period: Annotated[MonthText | None, Field(description="A whole month.")] = None


class LedgerQuery(DaysQuery, PageQuery):
    estimated: Annotated[
        FlagText, Field(description="Only calls whose cost is still an estimate.")
    ] = False


class RequestsQuery(DaysQuery, PageQuery):
    key: Annotated[Line | None, Field(description="An id, or TEAM/NAME.")] = None
    end_user: Line = ""
    model: Line = ""
    outcome: OutcomeName | None = None
    cost_usd: Annotated[Dollars | None, Field(description="Those that cost this much or more.")] = (
        None
    )


class ReasonQuery(Query):
    """A DELETE seldom has a body, so its reason may be in the query."""

    reason: Annotated[Line, Field(description="Why, for the audit.")] = ""


class ReconcileQuery(ReasonQuery, CsvQuery):
    """What the options of `gateway ledger reconcile` say; the statement is the body."""

    upstream: Annotated[Line | None, Field(description="Needed where there are several.")] = None
    period: Annotated[MonthText | None, Field(description="The month that it covers.")] = None
    column: Annotated[
        tuple[Line, ...], Field(description="The statement's name: cost=amount. Repeatable.")
    ] = ()
    where: Annotated[
        tuple[Line, ...], Field(description="Only such lines: service=images*. Repeatable.")
    ] = ()
    rate: Annotated[
        tuple[Line, ...], Field(description="Dollars for a currency: EUR=1.08. Repeatable.")
    ] = ()
    aggregated: Annotated[FlagText, Field(description="The lines are sums, not calls.")] = False
    granularity: Granularity | None = None
    numbers: Numbers | None = None
    dates: Dates | None = None
    encoding: Encoding | None = None
    title_lines: TitleLines | None = None
    edge: Annotated[
        Age | None, Field(description="Longest time between settlement and billing of a call.")
    ] = None
    duplicates: Annotated[
        Duplicates, Field(description="How lines count that repeat another in every column.")
    ] = "refuse"
    confirm: Annotated[
        Line | None, Field(description="The preview to book; send the same statement again.")
    ] = None
    allow_change: Annotated[
        Percent | None, Field(description="Book it although so much changes.")
    ] = None

    @property
    def options(self) -> ReconcileOptions:
        reading = ReadingOptions(
            columns=self.column,
            filters=self.where,
            rates=self.rate,
            aggregated=self.aggregated,
            granularity=self.granularity,
            numbers=self.numbers,
            dates=self.dates,
            encoding=self.encoding,
            title_lines=self.title_lines,
        )
        return ReconcileOptions(
            upstream=self.upstream,
            period=self.period,
            reading=reading,
            edge_ms=None if self.edge is None else int(self.edge * 1000),
            duplicates=self.duplicates,
        )


class Body(BaseModel):
    """A JSON body. The audit keeps its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    reason: Line | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, document: Mapping[str, object]) -> Mapping[str, object]:
        """A required field that is null counts as missing."""
        required = {name for name, each in cls.model_fields.items() if each.is_required()}
        return {
            name: value
            for name, value in document.items()
            if value is not None or name not in required
        }


_COUNT = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": LARGEST_COUNT},
        {"type": "string", "pattern": "^[0-9]+$"},
        {"type": "null"},
    ]
}
_NULL = {"type": "null"}
_LIST_TEXT = {"type": "string", "description": "The same, separated by commas."}
_SETTINGS: dict[str, Any] = {
    "money": {"anyOf": [DOLLARS_SCHEMA, _NULL]},
    "period": {"anyOf": [{"type": "string", "enum": list(PERIODS)}, _NULL]},
    "weekday": {"anyOf": [{"type": "string", "enum": list(WEEKDAYS)}, _NULL]},
    "keeping": {"anyOf": [{"type": "string", "enum": list(KEEPINGS)}, _NULL]},
    "month_day": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 28},
            {"type": "string", "enum": list(MONTH_DAYS)},
            _NULL,
        ]
    },
    "count": _COUNT,
    "names": {
        "anyOf": [
            {"type": "array", "maxItems": MOST_MODELS, "items": {**LINE_SCHEMA, "minLength": 1}},
            _LIST_TEXT,
            _NULL,
        ]
    },
    "flag": {"type": ["boolean", "null"]},
    "switch": {"type": ["boolean", "null"]},
    "text": {**LINE_SCHEMA, "type": ["string", "null"]},
    "tags": {
        "type": ["object", "null"],
        "maxProperties": 32,
        "propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "additionalProperties": LINE_SCHEMA,
    },
    "time": {"type": ["string", "null"]},
    "url": {"type": ["string", "null"], "pattern": r"^(https?://[^\s/]+\S*)?$"},
    "percents": {"anyOf": [{"type": "array", "maxItems": 10}, _LIST_TEXT, _NULL]},
}
"""By the name of a field's type, the schema of what is accepted for it."""


class SettingsBody(Body):
    """The settings of an account; `change_settings` parses their values."""

    def given(self) -> dict[str, Any]:
        """The settings that the body names, null included."""
        others = {"reason", "name", "team"}
        return {name: getattr(self, name) for name in self.model_fields_set - others}


class NewTeamBody(SettingsBody):
    name: TeamName


class NewKeyBody(SettingsBody):
    name: Name
    team: Line | None = None


def with_settings(body: type[SettingsBody], level: Level) -> type[SettingsBody]:
    """The body with a field for each setting of the level."""
    settings: dict[str, Any] = {
        field.name: (
            Annotated[
                Any, WithJsonSchema({"description": field.help, **_SETTINGS[field.type.name]})
            ],
            None,
        )
        for field in fields_of(level).values()
    }
    return create_model(body.__name__, __base__=body, **settings)


class RotationBody(Body):
    grace: Annotated[Grace, Field(description="How long the old secret stays valid.")] = 86400.0


class NewTokenBody(Body):
    name: Name
    role: RoleName


class PauseBody(Body):
    team: Line | None = None


class PriceBody(Body):
    model: Line
    upstream: Line | None = None
    price_usd: Dollars | None = None


class CorrectionBody(Body):
    request_id: Line
    cost_usd: Dollars


class ClosingBody(Body):
    period: MonthText
    force_with_estimates: Annotated[
        Flag, Field(description="Close it although the cost of some calls is estimated.")
    ] = False


class UndoBody(Body):
    dry_run: Annotated[Flag, Field(description="Only say what would be booked.")] = False


class GrantBody(Body):
    """A grant to a budget, or of a request."""

    budget: Annotated[
        Filled | None, Field(description="organisation, TEAM or TEAM/KEY; not with `request`.")
    ] = None
    request: Annotated[Filled | None, Field(description="The id of a request to grant.")] = None
    usd: Annotated[Dollars | None, Field(description="By default what was asked for.")] = None
    until: Annotated[
        DayText | None,
        Field(description="The last day; by default, and at the latest, that of the window."),
    ] = None


class TeamRequestBody(Body):
    """What the holder of a team's token asks for."""

    budget: Annotated[Filled, Field(description="TEAM or TEAM/KEY.")]
    usd: Dollars
    reason: Filled
    until: Annotated[
        DayText | None, Field(description="The last day; by default that of the window.")
    ] = None


class BudgetRequestBody(Body):
    """What the holder of a key asks for."""

    usd: Dollars
    reason: Filled
    until: Annotated[
        DayText | None, Field(description="The last day; by default that of the window.")
    ] = None
    level: Annotated[LevelName, Field(description="Whose budget.")] = "team"


class PurgeBody(Body):
    """Filters narrow together; without one, `all` must be true."""

    fingerprint: Filled | None = None
    team: Filled | None = None
    key: Annotated[Filled | None, Field(description="An id, or TEAM/NAME.")] = None
    model: Filled | None = None
    older_than: Age | None = None
    containing: Annotated[
        Digest | None, Field(description="The BLAKE3 hash of a reference image's bytes.")
    ] = None
    everything: Flag | None = Field(None, alias="all")
    dry_run: Flag | None = None


class EndUserBody(Body):
    """A person, by the name that requests send, or as usage reports show it."""

    user: Filled
    team: Filled | None = None


class ForgetBody(EndUserBody):
    dry_run: Flag | None = None
