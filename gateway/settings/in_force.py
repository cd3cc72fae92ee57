"""The settings in force, for reading: no secret, and no password inside a URL."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from pydantic import SecretStr, ValidationError

from gateway.model.money import usd
from gateway.settings.sections import Settings, SettingsSection

_IN_URL = re.compile(r"(?<=://)[^/@\s]*@|\?\S*")
_NAMES_ALONE = frozenset({"headers", "query"})
"""Tables whose values may be secrets, though not all are."""


@dataclasses.dataclass(frozen=True, slots=True)
class SettingInForce:
    """`is_changed`: it is not the default."""

    section: str
    name: str
    value: str
    is_changed: bool


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """Every setting, section by section."""
    return list(_of_section("", settings))


def _of_section(path: str, section: SettingsSection) -> Iterator[SettingInForce]:
    usual = _default_of(type(section))
    for name in type(section).model_fields:
        value = getattr(section, name)
        inner = f"{path}.{name}" if path else name
        if isinstance(value, SettingsSection):
            yield from _of_section(inner, value)
        elif isinstance(value, Mapping) and _holds_sections(value):
            for key, each in value.items():
                yield from _of_section(f'{inner}."{key}"', each)
        elif dataclasses.is_dataclass(value):
            for each in dataclasses.fields(value):
                if (limit := getattr(value, each.name)) is not None:
                    yield SettingInForce(inner, each.name, _shown(each.name, limit), True)
        elif path:
            yield SettingInForce(
                path, name, _shown(name, value), value != getattr(usual, name, None)
            )


def _default_of(section: type[SettingsSection]) -> SettingsSection | None:
    """The section as it is without settings; None where it needs some."""
    try:
        return section()
    except ValidationError:
        return None


def _holds_sections(value: Mapping[str, object]) -> bool:
    return all(isinstance(each, SettingsSection) for each in value.values())


def _shown(name: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return "(secret)" if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        if name in _NAMES_ALONE:
            return ", ".join(value)
        return ", ".join(f"{key} = {_shown('', each)}" for key, each in value.items())
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(_shown("", each) for each in value)
    if name.endswith("_usd") and isinstance(value, int):
        return usd(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else _IN_URL.sub("…", str(value))
