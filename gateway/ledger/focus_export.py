"""The ledger in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

A call is one row, at its cost with all corrections booked in its own month. Each later correction
is a row of its own, with the class "Correction"; amounts without a call are credits or
adjustments. Requests served without a paid call are a row for each day, team, key and model, at
no cost, with the cost avoided as `x_SavedCost`. The sum of `BilledCost` is that of the ledger.

A decimal always has a decimal point: readers that guess the type of a column, as `focus-validator`
does, take it for an integer otherwise. `InvoiceId` and `CommitmentDiscountStatus` are null: the
upstream's invoice is not known here, and there are no commitments.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import tzinfo

from gateway.database.database import Row, Transaction
from gateway.ledger.tables.corrections import BookedCall
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.ledger.tables.reports import every_row
from gateway.ledger.tables.reuse import savings
from gateway.model.money import usd
from gateway.model.units import time_text
from gateway.model.windows import days_before, start_ms, window

CURRENCY = "USD"
PICTURE = "Images"
TOKENS = "Tokens"
SERVICE_CATEGORY = "AI and Machine Learning"
SERVICE_SUBCATEGORY = "Generative AI"

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountStatus", "ConsumedQuantity",
    "ConsumedUnit", "ContractedCost", "EffectiveCost", "InvoiceId", "InvoiceIssuerName",
    "ListCost", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter",
    "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_CostCentre",
    "x_CostKind", "x_Corrections", "x_CorrectedLedgerId", "x_Estimated", "x_KeyId", "x_LedgerId",
    "x_LedgerKind", "x_Owner", "x_PriceVersion", "x_ReferenceImages", "x_RequestId",
    "x_SavedCause", "x_SavedCost", "x_SettledAt", "x_UpstreamRequestId",
)  # fmt: skip
FocusRow = dict[str, object]


@dataclass(frozen=True, slots=True)
class Issuer:
    """The provider of what names no upstream, and the time zone of the ledger's days."""

    name: str
    zone: tzinfo


async def focus_rows(
    tx: Transaction, from_day: str, to_day: str, issuer: Issuer
) -> AsyncIterator[FocusRow]:
    """Every row of these days, in their order; first charges, then savings."""
    saved = await savings(tx, from_day, to_day)
    day: list[LedgerRow] = []
    async for row in every_row(tx, from_day, to_day):
        if day and row.day != day[0].day:
            for each in _charges(day, issuer):
                yield each
            day = []
        day.append(row)
    for each in _charges(day, issuer):
        yield each
    for line in saved:
        yield _saving(line, issuer)


def _charges(day: Iterable[LedgerRow], issuer: Issuer) -> Iterator[FocusRow]:
    """The rows of one day: calls with corrections of the same month, and late corrections."""
    calls: dict[str, list[LedgerRow]] = {}
    for row in day:
        same = calls.get(row.corrects or "")
        if same and not row.late_for:
            same.append(row)
        else:
            calls[row.id] = [row]
    for first, *corrections in calls.values():
        row = _merged(first, corrections) if corrections else first
        if row.cost_nanos or row.images:
            yield _charge(row, len(corrections), issuer)


def _merged(first: LedgerRow, corrections: Sequence[LedgerRow]) -> LedgerRow:
    """A call (or adjustment) as its corrections of the same day make it."""
    booked, rows = BookedCall(first, tuple(corrections)), (first, *corrections)
    ids = [row.upstream_request_id for row in rows if row.upstream_request_id]
    versions = [row.price_version for row in booked.standing if row.price_version]
    return replace(
        first,
        cost_nanos=booked.cost_nanos,
        images=booked.images,
        upstream_request_id=ids[0] if ids else "",
        estimated=int(booked.estimate is not None),
        cost_kind=booked.cost_kind,
        price_version=versions[-1] if versions else first.price_version,
        **asdict(booked.tokens),
    )


def _charge(row: LedgerRow, corrections: int, issuer: Issuer) -> FocusRow:
    usage = row.kind != "adjustment"
    measured = usage and row.late_for is None
    sku = f"{row.model or 'unknown'}/{row.route or 'unknown'}"
    return {
        **_money(row.cost_nanos),
        **_periods(row.day, row.late_for or row.day, issuer),
        **_place(row.team, row.tags, row.upstream or issuer.name),
        "ChargeCategory": "Usage" if usage else "Credit" if row.cost_nanos < 0 else "Adjustment",
        "ChargeClass": "Correction" if row.late_for else None,
        "ChargeDescription": _description(row),
        "ChargeFrequency": "Usage-Based" if usage else "One-Time",
        "PricingCategory": "Standard" if usage else None,
        **_quantity(row if measured else None),
        **(_sku(sku) if usage else {}),
        "x_CostCentre": row.cost_centre,
        "x_CostKind": row.cost_kind if usage else None,
        "x_Corrections": corrections,
        "x_CorrectedLedgerId": row.corrects,
        "x_Estimated": "true" if row.estimated else "false",
        "x_KeyId": row.key_id,
        "x_LedgerId": row.id,
        "x_LedgerKind": row.kind,
        "x_Owner": row.owner,
        "x_PriceVersion": row.price_version or None,
        "x_ReferenceImages": row.reference_images if row.kind == "call" else None,
        "x_RequestId": row.request_id,
        "x_SettledAt": time_text(row.at_ms),
        "x_UpstreamRequestId": row.upstream_request_id,
    }


def _saving(line: Row, issuer: Issuer) -> FocusRow:
    return {
        **_money(0),
        **_periods(line["day"], line["day"], issuer),
        **_place(line["team"], line["tags"], issuer.name),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"Pictures of {line['model']} had for nothing: {line['cause']}",
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Standard",
        **_pictures(line["calls"]),
        **_sku(f"{line['model']}/saved"),
        "x_CostCentre": line["cost_centre"],
        "x_KeyId": line["key_id"],
        "x_LedgerKind": "saving",
        "x_Owner": line["owner"],
        "x_SavedCause": line["cause"],
        "x_SavedCost": _decimal(line["saved_nanos"]),
    }


def _description(row: LedgerRow) -> str:
    what = f"{row.route or 'call'} by {row.model or 'an unknown model'}"
    if row.kind == "adjustment":
        return "Credit" if row.cost_nanos < 0 else "Charge that belongs to no call"
    if row.kind == "correction":
        return f"Correction of {what}, {row.late_for or row.day}"
    return f"Late charge of {what}, {row.late_for}" if row.late_for else what.capitalize()


def _money(nanos: int) -> FocusRow:
    """All cost columns: there is one price."""
    names = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
    return {**dict.fromkeys(names, _decimal(nanos)), "BillingCurrency": CURRENCY}


def _decimal(nanos: int) -> str:
    return usd(nanos) if nanos else "0.00"


def _periods(booked: str, about: str, issuer: Issuer) -> FocusRow:
    """The month of booking, and the day that the charge concerns."""
    month = window("month", booked, issuer.zone)
    return {
        "BillingPeriodStart": _start(month.first_day, issuer),
        "BillingPeriodEnd": _start(days_before(month.last_day, -1), issuer),
        "ChargePeriodStart": _start(about, issuer),
        "ChargePeriodEnd": _start(days_before(about, -1), issuer),
    }


def _start(day: str, issuer: Issuer) -> str:
    return time_text(start_ms(day, issuer.zone))


def _place(team: str, tags: str, provider: str) -> FocusRow:
    known: Mapping[str, str] = json.loads(tags)
    names = ("BillingAccountId", "BillingAccountName", "InvoiceIssuerName", "ProviderName",
             "PublisherName")  # fmt: skip
    return {
        **dict.fromkeys(names, provider),
        "ServiceCategory": SERVICE_CATEGORY,
        "ServiceName": f"{provider} images",
        "ServiceSubcategory": SERVICE_SUBCATEGORY,
        "SubAccountId": team,
        "SubAccountName": team,
        "SubAccountType": "Team",
        "Tags": tags if known else None,
    }


def _quantity(row: LedgerRow | None) -> FocusRow:
    """Tokens consumed, where they are counted; the price is that of pictures in any case."""
    if row is None:
        return {}
    consumed = {"ConsumedQuantity": f"{row.tokens.total}.0", "ConsumedUnit": TOKENS}
    return _pictures(max(1, row.images)) | (consumed if row.tokens.total > 0 else {})


def _pictures(pictures: int) -> FocusRow:
    quantities = dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), f"{pictures}.0")
    return {**quantities, **dict.fromkeys(("ConsumedUnit", "PricingUnit"), PICTURE)}


def _sku(name: str) -> FocusRow:
    return {"SkuId": name, "SkuMeter": PICTURE, "SkuPriceId": name}
