"""The dashboard *Spend*: what each team spent and saved, and whether its budget will last."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.units import Dollars, DurationSeconds, PercentUnit, Short

from deploy.grafana.frame import assembled
from deploy.grafana.panels import (
    ORANGE,
    RED,
    YELLOW,
    Built,
    bars,
    chart,
    instant,
    number,
    query,
    sheet,
)
from deploy.grafana.queries import (
    ANSWERED,
    BY_BOTH,
    BY_TEAM,
    FREE,
    HOUR,
    JOB,
    OF_ANY,
    OF_TEAMS,
    RANGE,
    RATE,
    budget,
    counted,
    ends,
    forecast,
    gone,
    hourly,
    left,
    limit,
    ratio,
    requests,
    share,
    summed,
    used,
)

NEARLY = ((0.8, ORANGE), (1.0, RED))
COST, SAVED, PICTURES = "cost_dollars", "saved_dollars", "pictures"


def spend() -> Dashboard:
    """The whole dashboard."""
    return assembled(
        uid="gateway-spend",
        title="Image edits: spend",
        description="What image edits cost, what the gateway saved, and how long budgets last. "
        "Totals over a time range are Prometheus's estimates; `gateway usage` and `gateway "
        "ledger` are exact.",
        since="now-7d",
        rows={
            "Totals": _totals(),
            "Teams": _teams(),
            "Budgets": _budgets(),
            "Keys and models": _keys_and_models(),
        },
        marks={"Budget used up": (f"{used(JOB)} >= 1", RED)},
    )


def _totals() -> Sequence[Built]:
    cost, saved = counted(COST), counted(SAVED)
    return [
        number(
            "Spent",
            "Cost of upstream calls, as settled. Later corrections are in the ledger only.",
            Dollars,
            instant(cost),
            decimals=2,
        ),
        number(
            "Saved",
            "What requests would have cost that were hits, shared a call in flight, or were an "
            "SDK's retry of a paid call.",
            Dollars,
            instant(saved),
            decimals=2,
        ),
        number(
            "Saved share",
            "Saved, as a share of spent plus saved. 50 %: half of the pictures' value was free.",
            PercentUnit,
            instant(ratio(saved, f"({cost} + {saved})")),
        ),
        number(
            "Paid pictures",
            "Pictures bought from the upstream, estimates included.",
            Short,
            instant(counted(PICTURES)),
            decimals=0,
        ),
        number(
            "Cost per picture",
            "Spent, divided by paid pictures. A rise means another mix of models, or a new price.",
            Dollars,
            instant(ratio(cost, counted(PICTURES))),
            decimals=4,
        ),
        number(
            "Estimated share",
            "Share of spent whose cost the upstream did not state: booked at the ceiling. Above "
            "5 % see the runbook, GatewayCostsEstimated.",
            PercentUnit,
            instant(share(counted("estimated_dollars"), cost)),
            steps=((0.05, ORANGE), (0.2, RED)),
        ),
    ]


def _teams() -> Sequence[Built]:
    return [
        chart(
            "Spent by team",
            "Dollars per hour, stacked by team: the height is the total of all teams.",
            Dollars,
            query(hourly(COST, "team"), "{{team}}"),
            width=12,
            stacked=True,
        ),
        chart(
            "Saved by cause",
            "Dollars per hour that were not spent. reuse: a hit; coalesced: shared a call in "
            "flight; automatic_retry: an SDK repeated a request that was already paid.",
            Dollars,
            query(hourly(SAVED, "cause"), "{{cause}}"),
            width=12,
            stacked=True,
        ),
        sheet(
            "Teams",
            "One row per team, over the time range. Hit share: of the answers with a picture, "
            "those that cost nothing.",
            [
                ("Spent", Dollars, counted(COST, "team")),
                ("Saved", Dollars, counted(SAVED, "team")),
                ("Pictures", Short, counted(PICTURES, "team")),
                ("Per picture", Dollars, ratio(counted(COST, "team"), counted(PICTURES, "team"))),
                (
                    "Hit share",
                    PercentUnit,
                    share(requests("team", FREE, RANGE), requests("team", ANSWERED, RANGE)),
                ),
            ],
            labels={"team": "Team"},
            sort_by="Spent",
        ),
    ]


def _budgets() -> Sequence[Built]:
    return [
        sheet(
            "Budgets",
            "One row per account with a budget, as of now; the organisation has no team. Held: "
            "reserved by calls in flight. Forecast: cost at the end of the window if spending "
            "continues at the same rate; orange from 80 % of the budget, red from 100 %.",
            [
                ("Budget", Dollars, budget("limit_dollars", OF_ANY)),
                ("Spent", Dollars, budget("spent_dollars", OF_ANY)),
                ("Held", Dollars, budget("held_dollars", OF_ANY)),
                ("Left", Dollars, left(OF_ANY)),
                ("Used", PercentUnit, used(OF_ANY)),
                ("Forecast", Dollars, forecast(OF_ANY)),
                ("Forecast of budget", PercentUnit, f"{forecast(OF_ANY)} / {limit(OF_ANY)}"),
                ("Window elapsed", PercentUnit, gone(OF_ANY)),
                ("Ends in", DurationSeconds, f"{ends(OF_ANY)} - time()"),
            ],
            labels={"job": "Gateway", "level": "Level", "team": "Team", "period": "Period"},
            steps={"Used": NEARLY, "Forecast of budget": NEARLY},
            sort_by="Used",
        ),
        bars(
            "Budget used",
            "Share of each team's budget that is spent in the current window. At 100 % nothing "
            "more is bought; stored pictures are still served.",
            PercentUnit,
            instant(f"sort_desc({used(OF_TEAMS)})", "{{team}} · {{period}}"),
            steps=NEARLY,
            top=1,
        ),
        chart(
            "Budget left",
            "Dollars that each team can still spend. It rises when a window begins or a limit is "
            "raised.",
            Dollars,
            query(left(OF_TEAMS), "{{team}} · {{period}}"),
        ),
        chart(
            "Forecast of budget",
            "Cost at the end of each window, as a share of the budget, if spending continues at "
            "the same rate. Above 100 % the budget will not last. The first twentieth of a window "
            "counts as a whole twentieth.",
            PercentUnit,
            query(f"{forecast(OF_TEAMS)} / {limit(OF_TEAMS)}", "{{team}} · {{period}}"),
            steps=((0.8, YELLOW), (1.0, RED)),
            top=1.1,
        ),
    ]


def _keys_and_models() -> Sequence[Built]:
    return [
        bars(
            "Keys by cost",
            "The ten keys with the highest cost in the time range. `gateway keys list` shows whose "
            "a key is; keys beyond the label limit are `other`.",
            Dollars,
            instant(_top_keys("cost"), "{{team}} · {{key}}"),
        ),
        bars(
            "Keys by savings",
            "The ten keys with the highest savings in the time range.",
            Dollars,
            instant(_top_keys("saved"), "{{team}} · {{key}}"),
        ),
        bars(
            "Models by cost",
            "The ten models with the highest cost in the time range.",
            Dollars,
            instant(f"topk(10, {counted(COST, 'model')} > 0)", "{{model}}"),
        ),
        chart(
            "Cost per picture by model",
            "Cost of a paid picture by model. A step is a new price: compare it with the model's "
            "`price_ceiling_usd`.",
            Dollars,
            query(
                ratio(counted(COST, "model", RATE), counted(PICTURES, "model", RATE)), "{{model}}"
            ),
        ),
        chart(
            "Estimated costs",
            "Dollars per hour booked at the ceiling, since the upstream stated no cost. `gateway "
            "ledger list --estimated` lists the calls; the upstream's statement settles them.",
            Dollars,
            query(hourly("estimated_dollars", "team"), "{{team}}"),
            stacked=True,
        ),
        chart(
            "Overruns",
            "Calls per hour that cost more than their reservation. Raise the model's "
            "`price_ceiling_usd`: until then a budget can be exceeded by the difference.",
            Short,
            query(
                f"{HOUR} * {summed(f'rate(gateway_overruns_total{{{BY_BOTH}}}[{RATE}])', 'model')}",
                "{{model}}",
            ),
        ),
    ]


def _top_keys(metric: str) -> str:
    over = f"increase(gateway_key_{metric}_dollars_total{{{BY_TEAM}}}[{RANGE}])"
    return f"topk(10, {summed(over, 'team, key')} > 0)"
