"""The nouns of the gateway: what a request is at each stage of its life.

Plain frozen data, no behaviour beyond what the data itself says. Units stand last in a
name: `_nanos` are integers of a thousand-millionth of a US dollar, `_ms` are unix
milliseconds where the name says when and milliseconds where it says how long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Level = Literal["organisation", "team", "key"]
Period = Literal["day", "week", "month", "total"]
Route = Literal["edits", "generations"]

PERIODS: tuple[Period, ...] = ("day", "week", "month", "total")
ORGANISATION = "organisation"

NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Outcome(StrEnum):
    """How a request ended: the one vocabulary of header, metric, journal and usage row."""

    HIT = "hit"
    MISS = "miss"
    COALESCED = "coalesced"
    REFRESHED = "refreshed"
    BYPASS = "bypass"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may do; None means unlimited at this level."""

    budget_nanos: int | None = None
    budget_period: Period | None = None
    paid_images_per_day: int | None = None
    requests_per_minute: int | None = None
    max_in_flight: int | None = None
    max_reference_images: int | None = None
    models: frozenset[str] | None = None
    may_bypass_cache: bool | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One level that bounds spending: the organisation, a team, or a key.

    `id` is "organisation", "team:NAME" or "key:ID"; balances are booked under it.
    """

    id: str
    level: Level
    name: str
    limits: Limits = Limits()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: a valid key and the accounts above it."""

    key_id: str
    key_name: str
    team: str
    organisation_account: Account
    team_account: Account
    key_account: Account
    owner: str = ""
    cost_centre: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)

    @property
    def accounts(self) -> tuple[Account, Account, Account]:
        """Every account that pays, in the order in which rows are locked."""
        return (self.organisation_account, self.team_account, self.key_account)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the upstream's catalogue and the settings say of one model; None is unknown."""

    id: str
    edit_supported: bool | None = None
    max_reference_images: int | None = None
    max_n: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One file part, as a range of the request's spool."""

    field: str
    digest: str
    offset: int
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A request that has been read and understood: text fields and files, in order.

    `fields` keep the client's names and texts; `uploads` lie in a spool that the reader owns.
    """

    route: Route
    model: str
    fields: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...] = ()
    document: bytes = b""
    """A JSON request's own bytes (generations); empty for multipart."""
    body_bytes: int = 0
    n: int = 1
    references: tuple[Upload, ...] = field(init=False, compare=False, repr=False)
    """The reference images, in order: every `image`, `image[]` or `image[N]`."""

    def __post_init__(self) -> None:
        found = tuple(upload for upload in self.uploads if is_reference(upload.field))
        object.__setattr__(self, "references", found)


def is_reference(field_name: str) -> bool:
    """Is this the name of a reference image's field (`image`, `image[]`, `image[0]` …)?"""
    return field_name == "image" or (field_name.startswith("image[") and field_name.endswith("]"))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content address of an edit; `uncacheable` names why it may not be stored, if so."""

    key: str
    uncacheable: str | None = None
    aside: str = ""
    """A digest of what is sent upstream but is no part of the key (`user` and the like)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored result's facts; its body lies beside it."""

    key: str
    team: str
    key_id: str
    model: str
    cost_nanos: int | None
    created_ms: int
    expires_ms: int
    body_digest: str
    body_bytes: int
    content_type: str
    request_id: str
    upstream_request_id: str
    references: tuple[str, ...] = ()
    """Digests of the reference images, so that results can be found by a picture."""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money and images held for one upstream call, until it is settled or voided."""

    id: str
    day: str
    ceiling_nanos: int
    images: int
    made_ms: int


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the ledger keeps of an upstream call besides its cost."""

    request_id: str
    model: str
    route: Route = "edits"
    fingerprint: str = ""
    references: int = 0
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an upstream call ended, in money.

    `cost_nanos` None means unknown: the reservation's ceiling is booked, marked estimated.
    """

    cost_nanos: int | None
    status: int | None = None
    upstream_request_id: str = ""
    credential: str = ""
    """Which upstream key paid: its position and last characters, never the secret."""
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What was booked for a reservation."""

    reservation_id: str
    cost_nanos: int
    estimated: bool
    overrun_nanos: int = 0
    remaining_nanos: int | None = None
    """Spendable now, the least over all levels; None where no level has a budget."""


@dataclass(frozen=True, slots=True)
class Balance:
    """One account's money in the window that holds `day`."""

    account: Account
    spent_nanos: int
    held_nanos: int
    images: int
    images_held: int
    resets_ms: int | None = None
    period: Period = field(default="total")


@dataclass(frozen=True, slots=True)
class RateStatus:
    """The tightest request rate that a request is under."""

    limit: int
    remaining: int
    reset_seconds: int
