"""The dashboard *Spend*: what each team spent and saved, and whether its budget will last."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard
from grafana_foundation_sdk.models.units import (
    Dollars,
    DurationSeconds,
    PercentUnit,
    RequestsPerSecond,
    Short,
)

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
    ONE_HOUR,
    RANGE,
    RATE,
    STEP,
    before,
    booked,
    budget,
    ends,
    forecast,
    gone,
    left,
    limit,
    named_keys,
    ratio,
    refused,
    requests,
    share,
    summed,
    used,
)

KEY = "{{team}} · {{name}} ({{key}})"
NEARLY = ((0.8, ORANGE), (1.0, RED))
SPENT, SAVED, ESTIMATED = "spent_dollars", "saved_dollars", "estimated_dollars"


def spend() -> Dashboard:
    """The whole dashboard."""
    return assembled(
        uid="gateway-spend",
        title="Image edits: spend",
        description="What image edits cost, what the gateway saved, and how long budgets last. "
        "Money is what the ledger booked in the time range, as in `gateway usage`.",
        since="now-7d",
        rows={
            "Totals": _totals(),
            "Teams": _teams(),
            "Budgets": _budgets(),
            "Keys and models": _keys_and_models(),
            "Changes and refusals": _changes_and_refusals(),
        },
        marks={"Budget used up": (f"{used(JOB)} >= 1", RED)},
    )


def _totals() -> Sequence[Built]:
    spent, saved = booked(SPENT), booked(SAVED)
    pictures = booked("pictures")
    return [
        number(
            "Spent",
            "What the ledger booked in the time range: upstream calls, and corrections.",
            Dollars,
            instant(spent),
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
            instant(f"{saved} / (({spent} or 0 * {saved}) + {saved} > 0)"),
        ),
        number(
            "Paid pictures",
            "Pictures bought from the upstream, estimates included.",
            Short,
            instant(pictures),
            decimals=0,
        ),
        number(
            "Cost per picture",
            "Spent, divided by paid pictures. A rise means another mix of models, or a new price.",
            Dollars,
            instant(ratio(spent, pictures)),
            decimals=4,
        ),
        number(
            "Estimated share",
            "Share of spent whose cost the upstream did not state: booked at the ceiling. Above "
            "5 % see the runbook, GatewayCostsEstimated.",
            PercentUnit,
            instant(share(f"clamp_min({booked(ESTIMATED)}, 0)", spent)),
            steps=((0.05, ORANGE), (0.2, RED)),
        ),
    ]


def _teams() -> Sequence[Built]:
    spent, pictures = booked(SPENT, "team"), booked("pictures", "team")
    return [
        chart(
            "Spent by team",
            "Dollars in the time of each bar, stacked by team: what was booked then.",
            Dollars,
            query(booked(SPENT, "team", over=STEP), "{{team}}"),
            width=12,
            stacked=True,
        ),
        chart(
            "Saved by cause",
            "Dollars in the time of each bar that were not spent. reuse: a hit; coalesced: shared "
            "a call in flight; automatic_retry: an SDK repeated a request that was already paid.",
            Dollars,
            query(booked(SAVED, "cause", over=STEP), "{{cause}}"),
            width=12,
            stacked=True,
        ),
        sheet(
            "Teams",
            "One row per team, over the time range. Hit share: of the answers with a picture, "
            "those that cost nothing.",
            [
                ("Spent", Dollars, spent),
                ("Saved", Dollars, booked(SAVED, "team")),
                ("Pictures", Short, pictures),
                ("Per picture", Dollars, ratio(spent, pictures)),
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
            "The ten keys with the highest cost in the time range; keys beyond `[metrics] "
            "max_keys` are `other`.",
            Dollars,
            instant(_top_keys("key_spent_dollars"), KEY),
        ),
        bars(
            "Keys by savings",
            "The ten keys with the highest savings in the time range.",
            Dollars,
            instant(_top_keys("key_saved_dollars"), KEY),
        ),
        bars(
            "Models by cost",
            "The ten models with the highest cost in the time range.",
            Dollars,
            instant(f"topk(10, {booked(SPENT, 'model')} > 0)", "{{model}}"),
        ),
        chart(
            "Cost per picture by model",
            "Cost of a picture paid for in the hour before, by model. A step is a new price: "
            "compare it with the model's `price_ceiling_usd`.",
            Dollars,
            query(
                ratio(*(booked(each, "model", over=ONE_HOUR) for each in (SPENT, "pictures"))),
                "{{model}}",
            ),
        ),
        chart(
            "Estimated costs",
            "Dollars in the time of each bar, booked at the ceiling since the upstream stated no "
            "cost. `gateway ledger list --estimated` lists the calls; the upstream's statement "
            "settles them.",
            Dollars,
            query(booked(ESTIMATED, "team", over=STEP), "{{team}}"),
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


def _changes_and_refusals() -> Sequence[Built]:
    team, key = booked(SPENT, "team"), booked("key_spent_dollars", "job, team, key", of=BY_TEAM)
    return [
        sheet(
            "Teams and the period before",
            "What each team spent in the time range, and in a range of the same length before it.",
            [("Spent", Dollars, team), *_changes(team)],
            labels={"team": "Team"},
            width=12,
            sort_by="Change",
        ),
        sheet(
            "Keys and the period before",
            "What each key spent in the time range, and in a range of the same length before it.",
            [
                (name, unit, named_keys(f"({expr})"))
                for name, unit, expr in (("Spent", Dollars, key), *_changes(key))
            ],
            labels={"job": "Gateway", "team": "Team", "name": "Key", "key": "Id"},
            width=12,
            sort_by="Change",
        ),
        chart(
            "Refusals by team",
            "Requests per second that were refused or failed, by team and code, the ten most "
            "frequent.",
            RequestsPerSecond,
            query(f"topk(10, {refused('team, code')})", "{{team}} · {{code}}"),
            width=12,
        ),
        chart(
            "Refused for money",
            "Requests per second that were refused with insufficient_quota: a budget or a quota is "
            "used up, see the runbook, GatewayBudgetUsedUp.",
            RequestsPerSecond,
            query(f"{refused('team', 'insufficient_quota')} or 0 * {refused('team')}", "{{team}}"),
            width=12,
        ),
    ]


def _changes(spent: str) -> Sequence[tuple[str, str, str]]:
    earlier = f"({before(spent)} or 0 * {spent})"
    return ("Before", Dollars, earlier), ("Change", Dollars, f"{spent} - {earlier}")


def _top_keys(gauge: str) -> str:
    return named_keys(f"topk(10, {booked(gauge, 'job, team, key', of=BY_TEAM)} > 0)")
