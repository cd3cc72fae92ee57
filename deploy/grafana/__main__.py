"""`python -m deploy.grafana`: write the dashboards beside this file, as Grafana reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.service import service
from deploy.grafana.spend import spend

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> Mapping[str, str]:
    """The files' texts by name."""
    built = {"spend.json": spend(), "service.json": service()}
    return {
        name: json.dumps(each, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, each in built.items()
    }


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
