"""The dashboard *Spend*: what each team paid and saved, and whether its money will last."""

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
        "Sums over a time range are Prometheus's estimates; `gateway usage` and `gateway ledger` "
        "are exact.",
        since="now-7d",
        rows={
            "In this time range": _at_a_glance(),
            "Teams": _teams(),
            "Budgets": _budgets(),
            "Where it goes": _where_it_goes(),
        },
        marks={"Budget used up": (f"{used(JOB)} >= 1", RED)},
    )


def _at_a_glance() -> Sequence[Built]:
    cost, saved = counted(COST), counted(SAVED)
    return [
        number(
            "Spent",
            "What the upstream was paid, as it was settled. Corrections that are booked later "
            "are in the ledger only.",
            Dollars,
            instant(cost),
            decimals=2,
        ),
        number(
            "Saved",
            "What requests would have cost that were served from the cache, shared a call under "
            "way, or were an SDK's retry of a call that had been paid.",
            Dollars,
            instant(saved),
            decimals=2,
        ),
        number(
            "Saved share",
            "Saved, of spent and saved together. 50 % means that every other dollar's worth of "
            "pictures was free.",
            PercentUnit,
            instant(ratio(saved, f"({cost} + {saved})")),
        ),
        number(
            "Paid pictures",
            "Pictures that the upstream was paid for, estimates among them.",
            Short,
            instant(counted(PICTURES)),
            decimals=0,
        ),
        number(
            "Cost per picture",
            "Spent, divided by paid pictures. Where it rises, the mix of models has changed, or "
            "a price.",
            Dollars,
            instant(ratio(cost, counted(PICTURES))),
            decimals=4,
        ),
        number(
            "Estimated share",
            "The part of spent whose cost the upstream did not state: booked at the ceiling. "
            "Above 5 % see the runbook, GatewayCostsEstimated.",
            PercentUnit,
            instant(share(counted("estimated_dollars"), cost)),
            steps=((0.05, ORANGE), (0.2, RED)),
        ),
    ]


def _teams() -> Sequence[Built]:
    return [
        chart(
            "Spent by team",
            "Dollars an hour at each moment's pace, teams upon each other: the height is what all "
            "of them spend.",
            Dollars,
            query(hourly(COST, "team"), "{{team}}"),
            width=12,
            stacked=True,
        ),
        chart(
            "Saved by cause",
            "Dollars an hour that were not spent. reuse: from the cache; coalesced: shared a call "
            "under way; automatic_retry: an SDK asked again for what was paid already.",
            Dollars,
            query(hourly(SAVED, "cause"), "{{cause}}"),
            width=12,
            stacked=True,
        ),
        sheet(
            "Teams",
            "A row for each team, over the time range. Hit share is of the answers with a "
            "picture: those that cost nothing.",
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
            "A row for each account with a budget, as it is now; the organisation's has no team. "
            "Held is reserved by calls under way. Forecast is what the window will have cost at "
            "its end if it goes on as so far: orange from 80 % of the budget, red from all of it.",
            [
                ("Budget", Dollars, budget("limit_dollars", OF_ANY)),
                ("Spent", Dollars, budget("spent_dollars", OF_ANY)),
                ("Held", Dollars, budget("held_dollars", OF_ANY)),
                ("Left", Dollars, left(OF_ANY)),
                ("Used", PercentUnit, used(OF_ANY)),
                ("Forecast", Dollars, forecast(OF_ANY)),
                ("Forecast of budget", PercentUnit, f"{forecast(OF_ANY)} / {limit(OF_ANY)}"),
                ("Window gone", PercentUnit, gone(OF_ANY)),
                ("Ends in", DurationSeconds, f"{ends(OF_ANY)} - time()"),
            ],
            labels={"job": "Gateway", "level": "Level", "team": "Team", "period": "Period"},
            steps={"Used": NEARLY, "Forecast of budget": NEARLY},
            sort_by="Used",
        ),
        bars(
            "Budget used",
            "What each team has spent of its budget in the window that runs. At 100 % nothing "
            "more is bought; what is stored is still served.",
            PercentUnit,
            instant(f"sort_desc({used(OF_TEAMS)})", "{{team}} · {{period}}"),
            steps=NEARLY,
            top=1,
        ),
        chart(
            "Budget left",
            "Dollars that each team can still spend; it jumps up where a window begins or a limit "
            "is raised.",
            Dollars,
            query(left(OF_TEAMS), "{{team}} · {{period}}"),
        ),
        chart(
            "Forecast of budget",
            "What each window will have cost at its end, as a part of the budget, if it goes on "
            "as so far. Above the line at 100 % the money will not last. The first twentieth of a "
            "window counts as a whole one.",
            PercentUnit,
            query(f"{forecast(OF_TEAMS)} / {limit(OF_TEAMS)}", "{{team}} · {{period}}"),
            steps=((0.8, YELLOW), (1.0, RED)),
            top=1.1,
        ),
    ]


def _where_it_goes() -> Sequence[Built]:
    return [
        bars(
            "Keys that spend most",
            "The ten keys with the highest cost in the time range. `gateway keys list` says whose "
            "a key is; those beyond the number that is told apart are `other`.",
            Dollars,
            instant(_top_keys("cost"), "{{team}} · {{key}}"),
        ),
        bars(
            "Keys that save most",
            "The ten keys whose requests were most often free, by what they would have cost.",
            Dollars,
            instant(_top_keys("saved"), "{{team}} · {{key}}"),
        ),
        bars(
            "Models that cost most",
            "The ten models with the highest cost in the time range.",
            Dollars,
            instant(f"topk(10, {counted(COST, 'model')} > 0)", "{{model}}"),
        ),
        chart(
            "Cost per picture by model",
            "What a paid picture of each model costs. A step is a new price: compare it with the "
            "model's `price_ceiling_usd`.",
            Dollars,
            query(
                ratio(counted(COST, "model", RATE), counted(PICTURES, "model", RATE)), "{{model}}"
            ),
        ),
        chart(
            "Estimated costs",
            "Dollars an hour that were booked at the ceiling, since the upstream stated no cost. "
            "`gateway ledger list --estimated` lists them; its statement settles them.",
            Dollars,
            query(hourly("estimated_dollars", "team"), "{{team}}"),
            stacked=True,
        ),
        chart(
            "Overruns",
            "Calls an hour that cost more than was reserved for them. Raise the model's "
            "`price_ceiling_usd`: until then a budget can be passed by the difference.",
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
