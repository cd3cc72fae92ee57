"""How what became of a request is shown, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.model.entry import Entry
from gateway.model.money import usd
from gateway.queries.request.lookup import RequestFacts, State
from gateway.queries.rules.retry_forecast import RetryForecast, Would
from gateway.queries.serializers import Facts, when


def facts(
    request_id: str, known: RequestFacts, state: State, stored: Entry | None, meets: RetryForecast
) -> Facts:
    """All of it: as the docstring of `Inquiry.answer` has it."""
    return {
        "object": "request",
        "id": request_id,
        "state": state,
        **_told(known),
        **_money(known),
        "upstream_request_id": known.remains.upstream_request_id or None,
        "stored": stored is not None,
        "stored_until": when(stored.expires_ms) if stored else None,
        "retry": _retry(meets, stored),
    }


def _told(known: RequestFacts) -> Facts:
    """What it was about, and what its client was told."""
    about, row = known.row or known.remains.about, known.row
    told = None if known.answering else row
    return {
        "at": when(told.at_ms) if told else None,
        "route": about.route if about else None,
        "model": (about.model if about else "") or None,
        "fingerprint": (about.fingerprint if about else "") or None,
        "outcome": told.outcome.value if told else None,
        "status": told.status if told else None,
        "code": (told.code if told else "") or None,
        "ms": row.took_us / 1000 if row else None,
        "stages_ms": {name: spent / 1000 for name, spent in row.stages.items()} if row else {},
    }


def _money(known: RequestFacts) -> Facts:
    """What is booked by now; what it will have cost is not known before its call has ended."""
    remains = known.remains
    cost_nanos = remains.cost_nanos if known.settled else None
    return {
        "charged": None if cost_nanos is None else cost_nanos > 0,
        "cost_usd": None if cost_nanos is None else usd(cost_nanos),
        "estimated": remains.estimated,
        "held_usd": usd(remains.held_nanos),
        "saved_usd": usd(known.row.saved_nanos if known.row else 0),
    }


def _retry(meets: RetryForecast, stored: Entry | None) -> Facts:
    message = _MESSAGES.get(meets.would, _BUYS_FIRST if meets.safe else _BUYS_AGAIN)
    if meets.would is Would.BUY and stored:
        message = _GOES_ROUND
    return {
        "safe": meets.safe,
        "would": meets.would.value,
        "seconds": meets.seconds,
        "message": message,
    }


_MESSAGES: Mapping[Would, str] = MappingProxyType(
    {
        Would.HIT: "The picture is stored: the same request gets it at once, for nothing.",
        Would.JOIN: "The same request joins the call that is running, for nothing.",
        Would.SAME_ANSWER: "The same request gets what this one has brought, for nothing.",
        Would.SAME_ERROR: (
            "The same request gets the same error for so many seconds, without a call and for "
            "nothing; afterwards, or at once with Cache-Control: no-cache, it buys anew."
        ),
        Would.REFUSED: (
            "The same request is refused again, for nothing, until what it asks or its key's "
            "limits are changed; the error said which."
        ),
    }
)
_BUYS_FIRST = "Nothing was charged for this one: the same request buys the picture."
_BUYS_AGAIN = (
    "This one was charged, or may be, and there is nothing that could be given for it: the same "
    "request buys a picture anew."
)
_GOES_ROUND = (
    "The picture is stored, but the same request goes round it by its Cache-Control and buys one "
    "anew; without that header it gets the stored one, for nothing."
)
