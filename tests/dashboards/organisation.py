"""The organisation whose traffic is drawn: teams with budgets of every period, keys, prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.accounts.rules.account_settings import change_settings
from gateway.accounts.tables.organisation import update_organisation
from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.dashboards.prometheus import TOKEN
from tests.support.serving import Overrides, author, in_state, make_key, settings_for, tables_of

BASIC, SOLO, COLLAGE = "deepshi-image-1", "deepshi-solo-1", "deepshi-collage-14"
PRICES_USD = {BASIC: "0.01", SOLO: "0.005", COLLAGE: "0.04"}
"""What the emulator takes, and what calls are reserved at."""

TEAMS: Mapping[str, Mapping[str, object]] = {
    "design": {"budget_usd": "4", "budget_period": "month"},
    "marketing": {"budget_usd": "0.12", "budget_period": "month"},
    "research": {"budget_usd": "1.2", "budget_period": "week"},
    "studio": {"budget_usd": "3", "budget_period": "total"},
}
KEYS: Sequence[tuple[str, str, Mapping[str, object]]] = (
    ("design", "figma", {}),
    ("design", "intern", {"requests_per_minute": 20}),
    ("marketing", "campaign", {}),
    ("research", "notebook", {}),
    ("research", "batch", {}),
    ("studio", "film", {}),
)


def secret(name: str) -> str:
    """The secret of the key of this name."""
    return f"sk-{name}-0123456789abcdef"


def tables(folder: Path, emulator: EmulatorServer) -> Overrides:
    """Settings of its gateways: little room for results and uploads, few calls at once."""
    (spool := folder / "disk" / "spool").mkdir(parents=True)
    models = {f'models."{model}"': {"price_ceiling_usd": usd} for model, usd in PRICES_USD.items()}
    given = tables_of(folder, emulator)
    return {
        **given,
        **models,
        "upstream": {**given["upstream"], "max_connections": 4, "circuit_seconds": 3},
        "reports": {"smtp_url": "smtp://127.0.0.1:9", "to": ["finance@example.com"]},
        "metrics": {"token": TOKEN, "survey_seconds": 0.5},
        "cache": {"url": f"disk:{folder / 'cache'}", "max_bytes": "1MB"},
        "server": {"port": 0, "spool_folder": str(spool), "spool_bytes": "256KiB"},
    }


def found(folder: Path, emulator: EmulatorServer) -> Settings:
    """Make it in a new state; gives settings to look into that state with."""
    settings = settings_for(folder, emulator)
    for team, name, terms in KEYS:
        make_key(
            settings,
            team=team,
            name=name,
            secret=secret(name),
            team_terms=TEAMS[team],
            key_terms=terms,
        )

    async def bound(tx: Transaction) -> None:
        given = {"budget_usd": "50", "budget_period": "month"}
        await update_organisation(
            tx, lambda old: change_settings(old, "organisation", given), author()
        )

    in_state(settings, bound)
    return settings
