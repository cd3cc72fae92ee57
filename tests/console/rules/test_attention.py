"""Which budgets need attention, and in which order."""

from __future__ import annotations

from typing import Any

from gateway.console.rules.attention import notices


def budget(name: str, limit: str | None = "10", spent: str = "0", **more: Any) -> dict[str, Any]:
    left = None if limit is None else str(float(limit) - float(spent))
    facts = {"held_usd": "0", "needed_usd": "0.01", "forecast_usd": spent, "refused_today": 0}
    return {"name": name, "limit_usd": limit, "spent_usd": spent, "left_usd": left, **facts, **more}


def test_the_worst_come_first_and_what_is_in_order_is_left_out() -> None:
    found = notices(
        [
            budget("fine", spent="7.9"),
            budget("unlimited", limit=None, spent="1000"),
            budget("soon", spent="5", forecast_usd="10.01"),
            budget("nearly", spent="8"),
            budget("used up", spent="9.995"),
            budget("refusing", spent="4", refused_today=2),
        ]
    )

    assert [(each.budget["name"], each.severity, each.text) for each in found] == [
        ("used up", "bad", "too little left for one more picture"),
        ("refusing", "bad", "refused 2 edits today"),
        ("nearly", "warn", "80% used"),
        ("soon", "warn", "will not last for its period"),
    ]


def test_a_budget_of_nothing_is_used_up() -> None:
    assert [each.severity for each in notices([budget("none", limit="0")])] == ["bad"]
