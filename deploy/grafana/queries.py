"""The PromQL queries of the panels, correct for one process and for many.

What a process counts is added up over all of them. What is read from the state they share
(budgets, reservations) is the same in each, so the greatest stands for it.
"""

from __future__ import annotations

JOB = 'job=~"$job"'
BY_TEAM = f'{JOB}, team=~"$team"'
BY_MODEL = f'{JOB}, model=~"$model"'
BY_BOTH = f'{BY_TEAM}, model=~"$model"'

FREE = "hit|coalesced"
PAID = "miss|refreshed|bypass"
ANSWERED = f"{FREE}|{PAID}"
"""Outcomes with a picture: those that cost nothing, and those that were bought."""

ACCOUNT = "job, level, team, period"
OF_TEAMS = f'{BY_TEAM}, level="team"'
OF_ANY = f'{JOB}, team=~"$team|"'
"""The organisation's budget, whose team is empty, beside those of the chosen teams."""

RATE, RANGE, STEP, ONE_HOUR = "$__rate_interval", "$__range", "$__interval", "1h"
HOUR = 3600
_SECONDS = {RANGE: "$__range_ms / 1000", STEP: "$__interval_ms / 1000", ONE_HOUR: f"{HOUR}"}
_LABELS = {
    "spent_dollars": "job, team, model",
    "estimated_dollars": "job, team, model",
    "saved_dollars": "job, team, model, cause",
    "pictures": "job, team, model",
    "key_spent_dollars": "job, team, key",
    "key_saved_dollars": "job, team, key",
}


def summed(expr: str, by: str = "") -> str:
    """The sum over all processes, for each value of a label."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def share(part: str, whole: str) -> str:
    """A part of a whole: 0 where only the part is missing, nothing where the whole is."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def ratio(amount: str, count: str) -> str:
    """An amount for each of what is counted, and nothing where there was none."""
    return f"{amount} / ({count} > 0)"


def requests(by: str = "", outcomes: str = "", over: str = RATE) -> str:
    """Requests per second of the selected teams and models."""
    only = f', outcome=~"{outcomes}"' if outcomes else ""
    return summed(f"rate(gateway_requests_total{{{BY_BOTH}{only}}}[{over}])", by)


def quantile(q: float, histogram: str, selector: str, by: str = "") -> str:
    """A quantile of a histogram, over all processes."""
    buckets = f"rate(gateway_{histogram}_bucket{{{selector}}}[{RATE}])"
    return f"histogram_quantile({q}, {summed(buckets, f'{by}, le' if by else 'le')})"


def mean(histogram: str, selector: str) -> str:
    """What was observed on average, exactly."""
    of = f"gateway_{histogram}_{{}}{{{{{selector}}}}}[{RATE}]"
    return ratio(summed(f"rate({of.format('sum')})"), summed(f"rate({of.format('count')})"))


def buckets(histogram: str, selector: str) -> str:
    """How many were counted in each of a histogram's buckets, and below."""
    return summed(f"increase(gateway_{histogram}_bucket{{{selector}}}[{RATE}])", "le")


def booked(gauge: str, by: str = "", *, over: str = RANGE, of: str = BY_BOTH) -> str:
    """What the ledger booked over a time, exactly: the difference of two of its sums.

    Every process reports the same sums, and they outlive all of them. The sum at the time's start
    is what was reported then; else 0, if the ledger was scraped then or began later, or if the
    ledger was scraped before it had the sum; else, if Prometheus is younger than the time, what was
    reported first.
    """
    series, labels = f"gateway_ledger_{gauge}{{{of}}}", _LABELS[gauge]
    start = f"gateway_ledger_first_booking_timestamp_seconds{{{JOB}}}"
    now = _reported(series, labels)
    earlier = (
        _reported(series, labels, over),
        f"0 * {now} and on (job) (max by (job) (last_over_time({start}[1h] offset {over}))"
        f" or max by (job) (last_over_time({start}[1h])) > time() - {_SECONDS[over]})",
        f"0 * {now} and on ({labels}) (count_over_time({series}[{over}]) < on (job, instance) "
        f"group_left () max by (job, instance) (count_over_time({start}[{over}])))",
        f"min by ({labels}) (min_over_time({series}[{over}]))",
    )
    return summed(f"{now} - ({' or '.join(earlier)})", by)


def _reported(series: str, labels: str, ago: str = "") -> str:
    """What was reported, or last within an hour if no process was up then."""
    offset = f" offset {ago}" if ago else ""
    last = f"last_over_time({series}[1h]{offset})"
    return f"(max by ({labels}) ({series}{offset}) or max by ({labels}) ({last}))"


def before(expr: str) -> str:
    """The same over the period before."""
    return f"last_over_time(({expr})[1ms:1ms] offset {RANGE})"


def refused(by: str, code: str = "") -> str:
    """Requests per second that were refused or failed."""
    only = f', code="{code}"' if code else ""
    return summed(f"rate(gateway_refusals_total{{{BY_TEAM}{only}}}[{RATE}])", by)


def named_keys(expr: str) -> str:
    """Amounts by key with each key's name."""
    info = "gateway_key_info or on (job, key) last_over_time(gateway_key_info[1h])"
    return f"{expr} * on (job, key) group_left (name) topk by (job, key) (1, {info})"


def budget(gauge: str, selector: str) -> str:
    """A gauge of budgets, for each account that has one."""
    return f"max by ({ACCOUNT}) (gateway_budget_{gauge}{{{selector}}})"


def limit(selector: str) -> str:
    """Budgets in dollars; one of nothing, which forbids spending, is left out."""
    return f"({budget('limit_dollars', selector)} > 0)"


def used(selector: str) -> str:
    """What is spent of each budget, as a part of 1."""
    return f"{budget('spent_dollars', selector)} / {limit(selector)}"


def left(selector: str) -> str:
    """What can still be spent: neither spent nor held by calls in flight."""
    parts = (budget(f"{part}_dollars", selector) for part in ("limit", "spent", "held"))
    return f"clamp_min({' - '.join(parts)}, 0)"


def ends(selector: str) -> str:
    """When each window ends; a budget for all time has none."""
    return budget("window_end_timestamp_seconds", selector)


def gone(selector: str) -> str:
    """How much of each window is over, as a part of 1."""
    start = budget("window_start_timestamp_seconds", selector)
    return f"(time() - {start}) / ({ends(selector)} - {start})"


def forecast(selector: str) -> str:
    """What each window will have cost at its end if spending continues at the same rate.

    A window's first twentieth counts as a whole one: one early edit foretells little.
    """
    return f"{budget('spent_dollars', selector)} / clamp({gone(selector)}, 0.05, 1)"
