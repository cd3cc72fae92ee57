"""The refusals that a client can provoke, as data: what to send, and what is to come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from gateway.accounts.rules.account_settings import AccountSettings
from gateway.accounts.tables import keys, organisation
from gateway.accounts.tables.audit import Author
from gateway.database.clock import now_ms
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from tests.support.serving import (
    KEY,
    GatewayProcess,
    Overrides,
    Served,
    author,
    in_state,
    make_key,
    settings_for,
    tables_of,
)

NOTHING: Mapping[str, Any] = MappingProxyType({})
PHOTO = ("photo.jpg",)

CLASSES = MappingProxyType(
    {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        409: "ConflictError",
        422: "UnprocessableEntityError",
        429: "RateLimitError",
        500: "InternalServerError",
        502: "InternalServerError",
        503: "InternalServerError",
        504: "InternalServerError",
    }
)
"""What both libraries call an error of a status; others are their plain status error."""


class Refused(Protocol):
    """What a client is told, and how often it asks for that."""

    @property
    def name(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def says(self) -> str: ...
    @property
    def param(self) -> str | None: ...
    @property
    def may_retry(self) -> bool: ...
    @property
    def tries(self) -> int: ...
    @property
    def calls(self) -> int: ...


@dataclass(frozen=True)
class Case:
    """An edit that is refused. `fault` is how the upstream serves it, if it gets there."""

    code: str
    status: int
    says: str
    key: str = KEY
    images: tuple[str, ...] = PHOTO
    fields: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    fault: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    param: str | None = None
    may_retry: bool = False

    @property
    def name(self) -> str:
        return f"{self.code}-{self.status}-{self.says[:24]}"

    @property
    def tries(self) -> int:
        """How many requests a library makes of it that may retry once."""
        return 2 if self.may_retry else 1

    @property
    def calls(self) -> int:
        """How many of them reach the upstream."""
        return self.tries if self.fault else 0


OWN: tuple[Case, ...] = (
    Case("invalid_api_key", 401, "unknown", key="sk-nobody"),
    Case("invalid_api_key", 401, "revoked", key="sk-revoked"),
    Case("invalid_api_key", 401, "expired", key="sk-expired"),
    Case("model_not_allowed", 403, "another-model", key="sk-narrow", param="model"),
    Case(
        "bypass_not_allowed", 403, "no-cache", key="sk-tied",
        headers={"x-gateway-cache-control": "no-cache"}, param="X-Gateway-Cache-Control",
    ),
    Case("model_not_found", 404, "nothing-1", fields={"model": "nothing-1"}, param="model"),
    Case(
        "edit_not_supported", 400, "deepshi-banana-pro",
        fields={"model": "deepshi-banana-pro"}, param="model",
    ),
    Case("too_many_reference_images", 400, "5", images=PHOTO * 6, param="image"),
    Case("too_many_reference_images", 400, "1", key="sk-single", images=PHOTO * 2, param="image"),
    Case("unsupported_n", 400, "1", fields={"n": "2"}, param="n"),
    Case("invalid_field", 400, "`n`", fields={"n": "none"}, param="n"),
    Case("missing_field", 400, "`model`", fields={"model": ""}, param="model"),
    Case("missing_field", 400, "`prompt`", fields={"prompt": ""}, param="prompt"),
    Case("invalid_image", 400, "text", images=("notes.txt",), param="image[]"),
    Case("invalid_image", 400, "2nd", images=("white.png", "notes.txt"), param="image[]"),
    Case("image_too_large", 413, "larger than", images=("large.png",), param="image[]"),
    Case("insufficient_quota", 429, "budget", key="sk-poor"),
    Case("insufficient_quota", 429, "pictures a day", key="sk-sated"),
    Case(
        "end_user_budget", 429, "end user", key="sk-for-people",
        headers={"x-gateway-user": "ada"},
    ),
    Case("spending_paused", 429, "paused", key="sk-paused"),
    Case("rate_limit_exceeded", 429, "in flight", key="sk-crowded", may_retry=True),
    Case("not_cached", 504, "only-if-cached", headers={"cache-control": "only-if-cached"}),
)  # fmt: skip
"""Refused by the gateway itself: nothing reaches the upstream."""

FORM = "Multipart/Form-Data; boundary=b"
"""So written, no library takes it for a form that it is to write itself."""
TWICE = (
    '--b\r\nContent-Disposition: form-data; name="{0}"\r\n\r\n1\r\n'
    '--b\r\nContent-Disposition: form-data; name="{0}"\r\n\r\n1\r\n--b--\r\n'
)


@dataclass(frozen=True)
class Odd:
    """A request that no method of a library makes by itself, and that is refused."""

    code: str
    status: int
    says: str
    method: str = "post"
    path: str = "/images/edits"
    body: object = None
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    param: str | None = None
    may_retry = False
    tries = 1
    calls = 0

    @property
    def name(self) -> str:
        return f"{self.code}-{self.says[:24]}"


def _text(body: str, content_type: str) -> dict[str, Any]:
    return {"body": body, "headers": {"Content-Type": content_type}}


def _json(**images: object) -> dict[str, Any]:
    return {"body": {"model": "deepshi-image-1", "prompt": "grey", **images}}


ODD: tuple[Odd, ...] = (
    Odd("not_found", 404, "base_url", method="get", path="/images/variations"),
    Odd("not_found", 404, "base_url", path="/chat/completions", body={"model": "x"}),
    Odd("model_not_found", 404, "nothing-1", method="get", path="/models/nothing-1"),
    Odd("method_not_allowed", 405, "POST", method="get"),
    Odd("method_not_allowed", 405, "GET", path="/models", body={}),
    Odd("invalid_json", 400, "JSON", **_text("{", "application/json")),
    Odd("unsupported_media_type", 415, "text/plain", **_text("grey", "text/plain")),
    Odd("invalid_multipart", 400, "multipart", **_text("--b", FORM)),
    Odd("invalid_multipart", 400, "closing delimiter", **_text("--b\r\n", FORM)),
    Odd("duplicate_field", 400, "once", **_text(TWICE.format("n"), FORM), param="n"),
    Odd(
        "unsupported_image_source", 400, "URLs and file ids are not accepted",
        **_json(images=[{"image_url": "https://example.com/a.png"}]), param="images",
    ),
    Odd(
        "unsupported_image_source", 400, "file id",
        **_json(images=[{"file_id": "file-1"}]), param="images",
    ),
    Odd("headers_too_large", 431, "fewer", method="get", headers={"x-long": "a" * 70_000}),
)  # fmt: skip
"""Refused by what the request is; nothing reaches the upstream."""

UPSTREAM: tuple[Case, ...] = (
    Case("upstream_timeout", 504, "in time", fault={"hang": True}),
    Case("upstream_failed", 502, "may have charged", fault={"status": 500, "bill": True}),
    Case("upstream_failed", 502, "may have charged", fault={"status": 502}),
    Case("upstream_failed", 502, "may have charged", fault={"garbage": True}),
    Case("upstream_failed", 502, "may have charged", fault={"truncate": True}),
    Case("upstream_failed", 502, "may have charged", fault={"reset_after_read": True}),
    Case("upstream_account", 502, "own account", fault={"status": 401}),
    Case("upstream_busy", 429, "busy", fault={"status": 429, "retry_after": 0}, may_retry=True),
    Case("upstream_busy", 503, "busy", fault={"status": 503, "retry_after": 0}, may_retry=True),
    Case("emulated_failure", 400, "told to fail", fault={"status": 400}),
    Case("emulated_failure", 408, "told to fail", fault={"status": 408}),
    Case("emulated_failure", 409, "told to fail", fault={"status": 409}),
    Case("emulated_failure", 422, "told to fail", fault={"status": 422}),
)
"""What the upstream did, as the client is told of it. The call itself is made once, or again
only where that can't buy twice."""


@contextmanager
def gateway(folder: Path, emulator: EmulatorServer) -> Iterator[Served]:
    """A gateway with narrow bounds, little patience, and a key for every limit."""
    tables: Overrides = {
        "limits": {"max_image_bytes": "1MB", "max_body_bytes": "10MB"},
        "upstream": {"timeout_seconds": 1.0, "max_attempts": 1},
    }
    settings = settings_for(folder, emulator, tables)
    make_key(settings)

    def key(secret: str, team: str = "design", **terms: object) -> str:
        team_terms = {"budget_usd": "0.005"} if team == "poor" else {"unlimited": True}
        return make_key(
            settings, secret=secret, name=secret, team=team,
            team_terms=team_terms, key_terms=terms,
        )  # fmt: skip

    revoked = key("sk-revoked")
    key("sk-narrow", models="another-model")
    key("sk-tied", may_bypass_cache=False)
    key("sk-single", max_reference_images=1)
    key("sk-poor", team="poor")
    key("sk-sated", paid_images_per_day=0)
    key("sk-for-people", end_user_images_per_day=0)
    key("sk-paused", team="paused")
    key("sk-crowded", max_in_flight=0)

    async def take_away(tx: Transaction) -> None:
        earlier = Author("test", now_ms() - 60_000)
        terms = replace(AccountSettings(), expires_ms=now_ms() - 30_000)
        await keys.create_key(tx, "design", "expired", terms, earlier, secret="sk-expired")
        await keys.revoke_key(tx, revoked, author())
        await organisation.pause(tx, author(), team="paused")

    in_state(settings, take_away)
    with GatewayProcess(tables_of(folder, emulator, tables), folder) as process:
        yield process


def arrange(case: Case, gateway: Served, emulator: EmulatorServer, prompt: str) -> None:
    """Have the upstream fail as the case wants it; a success before keeps failures apart."""
    if case.fault:
        assert gateway.edit(f"before {prompt}").status_code == 200
        emulator.reset()
        emulator.order(always=case.fault)


def odd_command_of(case: Odd) -> dict[str, Any]:
    """The case as a command for a client's script."""
    return {
        "do": "request", "method": case.method, "path": case.path, "body": case.body,
        "headers": dict(case.headers),
    }  # fmt: skip


def command_of(case: Case, prompt: str) -> dict[str, Any]:
    """The case as a command for a client's script."""
    return {
        "api_key": case.key,
        "images": [{"file": name, "as": "handle"} for name in case.images],
        "fields": {"model": "deepshi-image-1", "prompt": prompt, **case.fields},
        "headers": dict(case.headers),
        "max_retries": 1 if case.may_retry else 2,
    }


def check(case: Refused, seen: Mapping[str, Any], emulator: EmulatorServer, plain: str) -> None:
    """What a client saw is what the table says, and nothing was tried that must not be.

    `plain` is what the library calls an error whose status has no class of its own.
    """
    error = seen["error"]
    assert (error["class"], error["status"]) == (CLASSES.get(case.status, plain), case.status)
    assert error["code"] == case.code, error
    assert case.says in error["body"]["message"]
    assert {"message", "type", "param", "code"} <= error["body"].keys()
    assert error["request_id"].startswith("req_")
    if case.param:
        assert error["param"] == case.param
    assert seen["tries"] == case.tries
    assert emulator.stats()["calls"] == case.calls
