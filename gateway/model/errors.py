"""Every refusal of the gateway as one table of data.

A `Refusal` is raised if a request cannot go on; only `gateway/api` turns it into an HTTP response.
The message says what happened, to which field, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gateway.model.caller import RateStatus


class Retry(Enum):
    """May the client try the same request again?"""

    NO = "no"
    YES = "yes"
    AS_IT_SAYS = "as it says"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: the HTTP status, the OpenAI error type, and the retry advice."""

    status: int
    type: str
    retry: Retry = Retry.NO


INVALID = "invalid_request_error"
PERMISSION = "permission_error"
QUOTA = "insufficient_quota"
RATE = "rate_limit_error"
SERVER = "server_error"
UPSTREAM = "upstream_error"

KINDS: Mapping[str, Kind] = {
    "invalid_api_key": Kind(401, INVALID),
    "too_many_failures": Kind(429, RATE, Retry.YES),
    "model_not_allowed": Kind(403, PERMISSION),
    "bypass_not_allowed": Kind(403, PERMISSION),
    "permission_denied": Kind(403, PERMISSION),
    "model_not_found": Kind(404, INVALID),
    "not_found": Kind(404, INVALID),
    "method_not_allowed": Kind(405, INVALID),
    "edit_not_supported": Kind(400, INVALID),
    "too_many_reference_images": Kind(400, INVALID),
    "unsupported_n": Kind(400, INVALID),
    "unsupported_field": Kind(400, INVALID),
    "missing_field": Kind(400, INVALID),
    "duplicate_field": Kind(400, INVALID),
    "unsupported_image_source": Kind(400, INVALID),
    "invalid_field": Kind(400, INVALID),
    "invalid_image": Kind(400, INVALID),
    "invalid_multipart": Kind(400, INVALID),
    "invalid_json": Kind(400, INVALID),
    "bad_request": Kind(400, INVALID),
    "conflict": Kind(409, INVALID),
    "picture_gone": Kind(410, INVALID),
    "answer_gone": Kind(410, INVALID),
    "precondition_failed": Kind(412, INVALID),
    "body_too_large": Kind(413, INVALID),
    "image_too_large": Kind(413, INVALID),
    "unsupported_media_type": Kind(415, INVALID),
    "range_not_satisfiable": Kind(416, INVALID),
    "upload_timeout": Kind(408, INVALID),
    "headers_too_large": Kind(431, INVALID),
    "insufficient_quota": Kind(429, QUOTA),
    "end_user_budget": Kind(429, QUOTA),
    "budget_held": Kind(429, RATE, Retry.YES),
    "rate_limit_exceeded": Kind(429, RATE, Retry.YES),
    "spending_paused": Kind(429, QUOTA),
    "price_unconfirmed": Kind(503, SERVER),
    "not_cached": Kind(504, INVALID),
    "still_running": Kind(504, SERVER, Retry.YES),
    "state_unavailable": Kind(503, SERVER, Retry.YES),
    "storage_full": Kind(503, SERVER, Retry.YES),
    "results_unavailable": Kind(503, SERVER, Retry.YES),
    "overloaded": Kind(503, SERVER, Retry.YES),
    "sandbox_unavailable": Kind(503, SERVER, Retry.YES),
    "shutting_down": Kind(503, SERVER, Retry.YES),
    "internal_error": Kind(500, SERVER),
    "upstream_unreachable": Kind(502, UPSTREAM, Retry.YES),
    "upstream_timeout": Kind(504, UPSTREAM),
    "upstream_failed": Kind(502, UPSTREAM),
    "upstream_account": Kind(502, UPSTREAM),
    "upstream_busy": Kind(503, UPSTREAM, Retry.YES),
    "request_lost": Kind(502, SERVER),
    "upstream_refused": Kind(400, UPSTREAM, Retry.AS_IT_SAYS),
}


@dataclass
class Refusal(Exception):
    """A request that cannot go on, and why.

    `code` is a row of `KINDS`; `status` overrides the row's where the upstream's own is
    passed on. `facts` are extra machine-readable fields inside `error`. `body` is set only
    when an upstream's own error is passed on as it came.
    """

    code: str
    message: str
    param: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    status_override: int | None = None
    retry_after_seconds: float | None = None
    rate_status: RateStatus | None = None
    """The request rate that was used up, where that is the reason."""
    body: bytes | None = None
    source: str = "gateway"

    def __post_init__(self) -> None:
        super().__init__(f"{self.code}: {self.message}")

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def status(self) -> int:
        return self.status_override or self.kind.status

    def envelope(self) -> dict[str, object]:
        """The OpenAI error object, all four keys always present."""
        error: dict[str, object] = {
            "message": self.message,
            "type": self.kind.type,
            "param": self.param,
            "code": self.code,
        }
        error.update(self.facts)
        return {"error": error}
