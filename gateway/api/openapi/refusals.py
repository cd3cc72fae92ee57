"""Responses with an error, from the table of refusals; the headers that stand on answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from gateway.api.openapi.schemas import TEXT, Schema, one_of, ref
from gateway.model.errors import KINDS, Retry
from gateway.model.reservation import COST_KINDS
from gateway.wire.cache_status import CACHE_WORDS

Response = dict[str, object]
Responses = dict[str, Response]


def _header(schema: Schema, description: str, *, required: bool = False) -> Schema:
    return {"description": description, "required": required, "schema": schema}


_DOLLARS: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{2,9})?$"}
_NUMBER: Schema = {"type": "integer", "minimum": 0}

_OF_ANSWERS: Mapping[str, Schema] = {
    "X-Request-Id": _header(TEXT, "What to quote when asking about a call.", required=True),
    "X-Gateway-Error-Source": _header(
        one_of(["gateway", "upstream"]), "Whose error it is.", required=True
    ),
    "X-Should-Retry": _header(
        one_of(["true", "false"]), "May an SDK try again, where its status alone would say wrong?"
    ),
    "WWW-Authenticate": _header(one_of(["Bearer"]), "How to send a key.", required=True),
    "Retry-After": _header({**_NUMBER, "minimum": 1, "maximum": 60}, "Seconds."),
    "Server-Timing": _header(TEXT, "The milliseconds of each stage."),
    "Cache-Status": _header(TEXT, "What happened in the cache, as RFC 9211 has it."),
    "Age": _header(_NUMBER, "Seconds since the picture was bought, or the failure happened."),
    "X-Gateway-Cache": _header(one_of(CACHE_WORDS.values()), "How it was answered."),
    "X-Gateway-Sandbox": _header(
        one_of(["true"]), "The key is a sandbox key: the emulator answers, and nothing is paid."
    ),
    "X-Gateway-Cost-USD": _header(_DOLLARS, "What this call cost its key."),
    "X-Gateway-Cost-Kind": _header(
        one_of(COST_KINDS), "How the cost of the call is known, where one was made."
    ),
    "X-Gateway-Cost-Estimated": _header(
        one_of(["true"]), "The cost is what was reserved, for the upstream has told none."
    ),
    "X-Gateway-Saved-USD": _header(_DOLLARS, "What it would have cost."),
    "X-Gateway-Budget-Remaining-USD": _header(_DOLLARS, "Spendable now, the least of all levels."),
    "X-Gateway-Reference-Images": _header(
        {"type": "string", "pattern": "^[0-9]+(/[0-9]+)?$"}, "Sent, and taken at most."
    ),
    "X-Gateway-Upstream": _header(TEXT, "The name of the upstream that the answer is from."),
    "X-Gateway-Upstream-Request-Id": _header(TEXT, "The upstream's own id of the call."),
    "RateLimit-Policy": _header(TEXT, "The tightest request rate, as the IETF draft has it."),
    "RateLimit": _header(TEXT, "What is left of it."),
    "X-RateLimit-Limit-Requests": _header(_NUMBER, "The same as OpenAI's SDKs know it."),
    "X-RateLimit-Remaining-Requests": _header(_NUMBER, "The same as OpenAI's SDKs know it."),
    "X-RateLimit-Reset-Requests": _header(TEXT, "The same as OpenAI's SDKs know it."),
    "Cache-Control": _header(TEXT, "Whether, and for how long, it may be kept."),
    "X-Gateway-Books-Closed": _header(
        one_of(["true", "false"]), "Can the rows of these days no longer change?"
    ),
    "Location": _header(TEXT, "The status of the request; its answer is at `/result` below."),
    "Preference-Applied": _header(one_of(["respond-async"]), "The preference that is followed."),
    "X-Accel-Buffering": _header(TEXT, "Not to be gathered by a proxy."),
}

OF_PICTURES: Mapping[str, Schema] = {
    "ETag": _header(TEXT, "Of the picture's bytes; strong."),
    "Accept-Ranges": _header(one_of(["bytes"]), "Ranges may be asked for."),
    "Content-Range": _header(TEXT, "Which bytes these are, of how many."),
    "Content-Disposition": _header(TEXT, "Shown, or kept as a file of this name."),
    "X-Content-Type-Options": _header(one_of(["nosniff"]), "The type is the one stated."),
    "Content-Security-Policy": _header(TEXT, "The picture may load and run nothing."),
    "Referrer-Policy": _header(one_of(["no-referrer"]), "The link is told to nobody else."),
}
HEADERS: Mapping[str, Schema] = {**_OF_ANSWERS, **OF_PICTURES}

RATES = tuple(name for name in HEADERS if "RateLimit" in name)
MONEY = tuple(name for name in HEADERS if name.endswith("-USD"))
OF_ERRORS = (
    "X-Request-Id",
    "X-Gateway-Error-Source",
    "X-Should-Retry",
    "Retry-After",
    "X-Gateway-Sandbox",
)

ANYWHERE = ("bad_request", "headers_too_large", "overloaded", "internal_error")
"""What any request may meet: no HTTP, a head that is too large, too many connections, a fault."""


def headers(names: Iterable[str]) -> Schema:
    """Headers of a response, each of the components."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def answered(
    description: str, schema: Schema, names: Iterable[str] = ("X-Request-Id",)
) -> Response:
    """A JSON answer."""
    return {
        "description": description,
        "headers": headers(names),
        "content": {"application/json": {"schema": schema}},
    }


def refusals(codes: Iterable[str], names: Iterable[str] = OF_ERRORS) -> Responses:
    """The responses of these codes and of `ANYWHERE`, by status.

    With `upstream_refused`, whose status and body are the upstream's own, every 4xx may be one,
    and with `upstream_busy` a 429 as well.
    """
    names, passed_on = list(names), False
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in dict.fromkeys((*codes, *ANYWHERE)):
        passed_on = passed_on or KINDS[code].retry is Retry.AS_IT_SAYS
        by_status[KINDS[code].status].append(code)
        if code == "upstream_busy":
            by_status[429].append(code)
    if passed_on:
        for status in by_status:
            if 400 <= status < 500:
                by_status[status] += ["upstream_refused"] * (
                    "upstream_refused" not in by_status[status]
                )
    found = {
        str(status): _refused(
            by_status[status],
            [*names, "WWW-Authenticate"] if status == 401 else names,
            passed_on=passed_on and status < 500,
        )
        for status in sorted(by_status)
    }
    if passed_on:
        found["4XX"] = _refused(["upstream_refused"], names, passed_on=True)
    return found


def _refused(codes: list[str], names: Iterable[str], *, passed_on: bool) -> Response:
    """One response; with `passed_on`, its body may be the upstream's."""
    ours: Schema = {
        "allOf": [
            ref("Error"),
            {"properties": {"error": {"properties": {"code": one_of(codes)}}}},
        ]
    }
    schema: Schema = {"anyOf": [ours, ref("UpstreamError")]} if passed_on else ours
    retried = [code for code in codes if KINDS[code].retry is Retry.YES]
    may = f" May be tried again: {', '.join(retried)}." if retried else ""
    return {**answered(f"{', '.join(codes)}.{may}", schema, names), "x-codes": codes}
