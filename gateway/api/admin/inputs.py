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
    Name,
    RoleName,
    Separator,
    TeamName,
)
from gateway.ledger.rules.usage_grouping import KNOWN
from gateway.model.caller import PERIODS, Level


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


class BudgetsQuery(PageQuery):
    team: Line | None = None


class GrantsQuery(BudgetsQuery):
    ended: FlagText = False


class TeamQuery(Query):
    team: Line | None = None


class DaysQuery(TeamQuery):
    from_day: DayText | None = Field(None, alias="from")
    to_day: DayText | None = Field(None, alias="to")


_OF_CSV = "For `Accept: text/csv`."


class UsageQuery(DaysQuery):
    by: Annotated[
        Line,
        Field(description=f"One or more of {', '.join(KNOWN)}, separated by commas; or paid_by."),
    ] = "team"
    separator: Annotated[Separator | None, Field(description=f"Of cells. {_OF_CSV}")] = None
    decimal: Annotated[Decimals, Field(description=f"The decimal sign. {_OF_CSV}")] = "point"
    bom: Annotated[FlagText, Field(description=f"A byte order mark. {_OF_CSV}")] = False
    raw: Annotated[
        FlagText, Field(description=f"No apostrophe before texts like formulas. {_OF_CSV}")
    ] = False


class LedgerQuery(DaysQuery, PageQuery):
    pass


class ReasonQuery(Query):
    """A DELETE seldom has a body, so its reason may be in the query."""

    reason: Annotated[Line, Field(description="Why, for the audit.")] = ""


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
