"""The status of a request, put together from its history and a forecast of a retry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.cache.rules.entry import Entry
from gateway.queries.models.ledger import LedgerRowView
from gateway.queries.models.read_model import Json
from gateway.queries.models.request_status import RequestDetailView, RequestView
from gateway.queries.rules.retry_forecast import RetryForecast, RetryOutcome
from gateway.queries.tables.request_history import RequestHistory, State
from gateway.queries.tables.request_list import Maker


def request_view(
    request_id: str,
    known: RequestHistory,
    state: State,
    stored: Entry | None,
    forecast: RetryForecast,
) -> RequestView:
    return RequestView.of(
        {
            "id": request_id,
            "state": state,
            **_answer(known),
            **_money(known),
            "upstream": known.upstream or None,
            "upstream_request_id": known.upstream_request_id or None,
            "stored": stored is not None,
            "stored_until": stored.expires_ms if stored else None,
            "retry": _retry(forecast, stored),
        }
    )


def detail_view(view: RequestView, known: RequestHistory, maker: Maker) -> RequestDetailView:
    """The same, with who made it and every row of the ledger about it."""
    rows = [row for each in known.booked for row in (each.call, *each.corrections)]
    return RequestDetailView.of(
        {
            **view.model_dump(exclude={"object"}),
            "team": maker.team,
            "key": maker.key_id,
            "end_user": maker.end_user,
            "ledger": [LedgerRowView.of(row) for row in rows],
        }
    )


def _answer(known: RequestHistory) -> Json:
    """The edit that was asked for, and the answer that its client got."""
    about, row = known.about, known.row
    answered = None if known.answering else row
    return {
        "at": answered.at_ms if answered else None,
        "route": about.route if about else None,
        "model": (about.model if about else "") or None,
        "fingerprint": (about.fingerprint if about else "") or None,
        "outcome": answered.outcome if answered else None,
        "status": answered.status if answered else None,
        "code": (answered.code if answered else "") or None,
        "ms": row.took_us / 1000 if row else None,
        "stages_ms": {name: took / 1000 for name, took in row.stages.items()} if row else {},
    }


def _money(known: RequestHistory) -> Json:
    """The amounts booked so far. The cost is not known before the call has ended."""
    cost_nanos = known.cost_nanos if known.settled else None
    return {
        "charged": None if cost_nanos is None else cost_nanos > 0,
        "cost_usd": cost_nanos,
        "estimated": known.estimated,
        "cost_kind": known.cost_kind,
        "held_usd": known.held_nanos,
        "saved_usd": known.row.saved_nanos if known.row else 0,
    }


def _retry(forecast: RetryForecast, stored: Entry | None) -> Json:
    message = _MESSAGES.get(forecast.outcome, _NOT_CHARGED if forecast.safe else _CHARGED)
    if forecast.outcome is RetryOutcome.BUY and stored:
        message = _BYPASSES
    return {
        "safe": forecast.safe,
        "would": forecast.outcome,
        "seconds": forecast.seconds,
        "message": message,
    }


_MESSAGES: Mapping[RetryOutcome, str] = MappingProxyType(
    {
        RetryOutcome.HIT: "The picture is stored: the same request gets it at once, for nothing.",
        RetryOutcome.JOIN: "The same request joins the call that is running, for nothing.",
        RetryOutcome.SAME_ANSWER: "The same request gets this one's answer, for nothing.",
        RetryOutcome.SAME_ERROR: (
            "For `seconds` the same request gets the same error, without a call and for nothing. "
            "After that, or at once with X-Gateway-Cache-Control: no-cache, it buys a new picture."
        ),
        RetryOutcome.REFUSED: (
            "The same request is refused again, for nothing, until the request or its key's "
            "limits are changed; the error said which."
        ),
    }
)
_NOT_CHARGED = "Nothing was charged for this request: the same request buys the picture."
_CHARGED = (
    "This request was charged, or may have been, and its picture is not stored: the same request "
    "buys a new one."
)
_BYPASSES = (
    "The picture is stored, but the same request bypasses it by its X-Gateway-Cache-Control and "
    "buys a new one; without that header it gets the stored picture, for nothing."
)
