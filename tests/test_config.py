"""config/gateway.toml says every setting, and says its default."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from gateway.settings import LimitSettings, Settings, load

FILE = Path("config/gateway.toml")
ENVIRONMENT = {"DEEPSHI_API_KEY": "", "GATEWAY_ADMIN_TOKEN": ""}


def test_what_the_file_says_is_what_holds_without_it() -> None:
    assert load(FILE, environment=ENVIRONMENT) == load(Path("/dev/null"), environment=ENVIRONMENT)


def test_the_file_names_every_setting() -> None:
    text = FILE.read_text()
    tables = tomllib.loads(text, parse_float=Decimal)
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        for name in kind.model_fields:
            named = name in tables[section] or (kind is LimitSettings and f"# {name} =" in text)
            assert named, f"[{section}] {name} is not documented"
