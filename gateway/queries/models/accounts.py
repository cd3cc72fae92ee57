"""The organisation, teams, keys, admin tokens and the audit as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, create_model

from gateway.accounts.tables.accounts import AccountRecord
from gateway.accounts.tables.audit import shown
from gateway.accounts.tables.keys import KeyRecord
from gateway.queries.models.account_fields import settings_fields
from gateway.queries.models.budgets import BudgetView
from gateway.queries.models.read_model import Count, Json, Moment, ReadModel, optional, read

Secret = Annotated[str, Field(description="Shown only in this answer.")]


CreatedBy = Annotated[
    str, Field(description="Who made it, by the name that the audit has, such as `token:ada`.")
]


class _Organisation(ReadModel):
    object: Literal["organisation"] = "organisation"


class _Team(ReadModel):
    object: Literal["team"] = "team"
    name: str


class _Key(ReadModel):
    object: Literal["key"] = "key"
    id: str
    team: str
    name: str
    secret_hint: str
    old_secret_valid_until: Moment | None


OrganisationView = create_model(
    "OrganisationView",
    __base__=_Organisation,
    **settings_fields("organisation"),
    paused=(bool, ...),
    budget=(BudgetView | None, optional()),
)
TeamView = create_model(
    "TeamView",
    __base__=_Team,
    **settings_fields("team"),
    paused=(bool, ...),
    created_at=(Moment, ...),
    archived_at=(Moment | None, ...),
    budget=(BudgetView | None, optional()),
)
KeyView = create_model(
    "KeyView",
    __base__=_Key,
    **settings_fields("key"),
    created_at=(Moment, ...),
    created_by=(CreatedBy, ...),
    revoked_at=(Moment | None, ...),
    budget=(BudgetView | None, optional()),
)
NewKeyView = create_model("NewKeyView", __base__=KeyView, secret=(Secret, ...))


def account_view(
    record: AccountRecord, *, secrets: bool = True, budget: BudgetView | None = None
) -> ReadModel:
    """The organisation or a team; without `secrets` the path of a webhook's URL is left out."""
    settings = {**record.facts(), "budget": budget}
    if not secrets:
        settings = {name: shown(name, value) for name, value in settings.items()}
    if record.level == "organisation":
        return OrganisationView.of(settings)
    return TeamView.of(
        {
            "name": record.name,
            **settings,
            "created_at": record.created_ms,
            "archived_at": record.ended_ms,
        }
    )


def key_view(
    key: KeyRecord, secret: str | None = None, budget: BudgetView | None = None
) -> ReadModel:
    """A key, with its secret where that is new."""
    facts = {
        "id": key.id,
        "team": key.team,
        "name": key.name,
        "secret_hint": key.hint,
        "old_secret_valid_until": key.rotated_until_ms,
        **key.account.facts(),
        "created_at": key.account.created_ms,
        "created_by": key.account.created_by,
        "revoked_at": key.account.ended_ms,
        "budget": budget,
    }
    return KeyView.of(facts) if secret is None else NewKeyView.of({**facts, "secret": secret})


class TokenView(ReadModel):
    """An admin token: its role, and a hint to recognise its secret by."""

    object: Literal["token"] = "token"
    id: str
    name: str
    role: str
    secret_hint: str = read("hint")
    created_at: Moment = read("created_ms")
    revoked_at: Moment | None = read("revoked_ms")


class NewTokenView(TokenView):
    """A new admin token with its secret."""

    secret: Secret


class ChangeView(ReadModel):
    """A line of the audit: who changed what, when, why, and the values before and after."""

    object: Literal["change"] = "change"
    id: Count
    at: Moment = read("at_ms")
    actor: str
    action: str
    subject: str
    old: Json
    new: Json
    reason: str

    def row(self) -> Json:
        return self.model_dump(exclude={"object", "id"})
