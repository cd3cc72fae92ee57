"""The settings of an account as a form: one field for each row of the table of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.accounts.rules.account_settings import fields_of
from gateway.accounts.rules.field_types import WEEKDAYS, AccountField
from gateway.model.caller import KEEPINGS, PERIODS, Level

YES_OR_NO = (("", "not set"), ("true", "yes"), ("false", "no"))
_CHOICES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "period": (("", "not set"), *((each, each) for each in PERIODS)),
        "weekday": (("", "not set"), *((each, each) for each in WEEKDAYS)),
        "keeping": (("", "as [console] keep_inputs"), *((each, each) for each in KEEPINGS)),
        "flag": YES_OR_NO,
        "switch": (("", "no"), ("true", "yes")),
    }
)


@dataclass(frozen=True, slots=True)
class SettingField:
    """A field of the form; with `choices` it is one of them."""

    name: str
    label: str
    hint: str
    value: str
    choices: tuple[tuple[str, str], ...] = ()


def setting_fields(level: Level, settings: Mapping[str, Any]) -> list[SettingField]:
    """The fields of a level with the settings that an account has, as `/admin/v1` shows them."""
    return [
        SettingField(
            name=name,
            label=name.removesuffix("_usd").replace("_", " ").capitalize(),
            hint=each.help,
            value=_text(each, settings.get(name)),
            choices=_CHOICES.get(each.type.name, ()),
        )
        for name, each in fields_of(level).items()
    ]


def changed_settings(
    level: Level, settings: Mapping[str, Any], typed: Mapping[str, str]
) -> dict[str, Any]:
    """What a form changes, as the body of a request; an emptied field is null."""
    found: dict[str, Any] = {}
    for name, each in fields_of(level).items():
        text = typed.get(name, "").strip()
        if name in typed and text != _text(each, settings.get(name)):
            found[name] = _FROM_TEXT.get(each.type.name, str)(text) if text else None
    return found


def _text(each: AccountField, value: Any) -> str:
    """The value of a setting as it stands in its field."""
    if value is None or value == "" or (each.type.name == "switch" and not value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _flag(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


def _tags(text: str) -> dict[str, str]:
    pairs = (each.partition("=") for each in text.split(","))
    return {name.strip(): value.strip() for name, _, value in pairs}


_FROM_TEXT: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {"flag": _flag, "switch": _flag, "tags": _tags}
)
