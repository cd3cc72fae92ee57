"""Settings: a TOML file, overridden by the environment, validated once, then frozen.

`GATEWAY_<SECTION>__<NAME>` overrides one value; names without a double underscore are no settings,
because orchestrators inject such (`GATEWAY_PORT=tcp://…`). No other module reads the environment.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from gateway.accounts.rules.limits import LIMITS_BY_NAME
from gateway.model.suggestions import similar
from gateway.settings.sections import (
    AdminSettings,
    ModelSettings,
    PicturePriceSettings,
    Settings,
    SettingsError,
    TargetPriceSettings,
    UpstreamSettings,
    WarningSettings,
)
from gateway.settings.values import PLACEHOLDER, PREFIX, name_in_variable, unknown_name

_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_|$)")
"""Variables that Kubernetes makes of a Service with such a name."""
_TABLES_BY_NAME = frozenset({"models", "upstreams"})
"""Sections that hold a table for each name."""
DEFAULT_FILE = Path("config/gateway.toml")


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings of `file` (or the usual places), then the environment, then `overrides`.

    Raises SettingsError with one line a fault, each naming the setting and the remedy.
    """
    environ = os.environ if environment is None else environment
    path = used_file(file, environ)
    tables: dict[str, Any] = read_toml(path) if path else {}
    _merge(tables, _from_environment(environ, _upstreams_of(tables)))
    _point_out_single_underscores(environ, tables)
    _merge(tables, overrides or {})
    if left := [f"{path or 'settings'}: {text}" for text in _placeholders(tables)]:
        raise SettingsError("\n".join(left))
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        lines = [_explain(fault, path) for fault in error.errors()]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def _placeholders(tables: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """Settings that nobody has replaced since they were copied from an example."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _placeholders(value, f"{section}.{name}" if section else name)
        elif PLACEHOLDER in str(value):
            yield f"[{section}] {name}: is still {PLACEHOLDER}: set your own"


def is_configured(environment: Mapping[str, str] | None = None) -> bool:
    """Does the environment configure the gateway, by a settings file or by single settings?"""
    environ = os.environ if environment is None else environment
    return any(
        name.startswith(PREFIX) and (name == f"{PREFIX}CONFIG" or "__" in name) for name in environ
    )


def used_file(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Path | None:
    """The settings file: `file`, else GATEWAY_CONFIG's, else the default one if it exists."""
    if file:
        return file
    environ = os.environ if environment is None else environment
    if named := environ.get("GATEWAY_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, numbers as Decimal. Raises SettingsError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None


def _from_environment(environ: Mapping[str, str], upstreams: Iterable[str]) -> dict[str, Any]:
    """The tables that variables give; `upstreams` are the names in the settings file."""
    tables: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, name = variable[len(PREFIX) :].lower().partition("__")
        path, fields = [section], setting_names(section)
        if section == "upstreams":
            upstream, _, name = name.partition("__")
            path.append(_upstream_meant(variable, upstream, upstreams))
        if section == "models" or not fields:
            known = list(Settings.model_fields)
            raise SettingsError(f"{variable}: {unknown_name(section, known, 'section')}")
        if section == "upstreams" and not name and (meant := _upstream_setting(path[1], fields)):
            raise SettingsError(f"{variable}: write {PREFIX}UPSTREAMS__{meant}")
        if name not in fields:
            raise SettingsError(f"{variable}: [{'.'.join(path)}] {unknown_name(name, fields)}")
        table = tables
        for each in path:
            table = table.setdefault(each, {})
        table[name] = value
    return tables


def _upstream_setting(text: str, fields: Iterable[str]) -> str:
    """`OPENAI__API_KEY` for the text `openai_api_key`."""
    found = [field for field in fields if text.endswith(f"_{field}")]
    longest = max(found, key=len, default="")
    return f"{text.removesuffix(f'_{longest}')}__{longest}".upper() if longest else ""


def _upstream_meant(variable: str, text: str, upstreams: Iterable[str]) -> str:
    """The upstream whose name is this text in a variable, where only a-z, 0-9 and _ can stand."""
    fitting = [name for name in upstreams if name_in_variable(name) == text]
    if len(fitting) > 1:
        raise SettingsError(f"{variable}: it means several upstreams, {', '.join(fitting)}")
    return fitting[0] if fitting else text


def _point_out_single_underscores(environ: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Raise SettingsError for `GATEWAY_SERVER_PORT`, unless a setting reads it by `env:NAME`.

    A Service of Kubernetes injects `tcp://…` by such a name.
    """
    read = repr((given, AdminSettings.model_fields))
    for meant in _variables(given):
        variable = meant.replace("__", "_")
        value = environ.get(variable, "")
        if value and not value.startswith("tcp://") and f"env:{variable}" not in read:
            raise SettingsError(f"{variable}: write {meant}, with two underscores")


def _upstreams_of(given: Mapping[str, Any]) -> Iterable[str]:
    """The names of [upstreams.NAME] in tables that are not validated yet."""
    upstreams = given.get("upstreams")
    return upstreams if isinstance(upstreams, Mapping) else ()


def _variables(given: Mapping[str, Any]) -> list[str]:
    """The variable of each setting, of the upstreams that are given too."""
    tables = {section: section for section in Settings.model_fields.keys() - _TABLES_BY_NAME}
    for upstream in _upstreams_of(given):
        tables[f"upstreams__{name_in_variable(upstream)}"] = "upstreams"
    return [
        f"{PREFIX}{table}__{name}".upper()
        for table, section in sorted(tables.items())
        for name in setting_names(section)
    ]


def suspects(file: Path | None = None, environment: Mapping[str, str] | None = None) -> list[str]:
    """What is likely misspelt though it is no error, a line each.

    That is a variable that nothing reads and that reads like a setting's, and `env:NAME` of a
    variable that is not set while a similar one is.
    """
    environ = os.environ if environment is None else environment
    path = used_file(file, environ)
    tables = read_toml(path) if path else {}
    defaults = (AdminSettings.model_fields, WarningSettings.model_fields)
    read = set(re.findall(r"\benv:(\w+)", repr((tables, defaults, dict(environ)))))
    found = [
        f"env:{name}: {name} is not set, but {other} is"
        for name in sorted(read - environ.keys())
        if (other := similar(name, environ))
    ]
    known = [*_variables(tables), f"{PREFIX}CONFIG"]
    unread = environ.keys() - {*known, *read}
    return found + [
        f"{variable}: nothing reads it; did you mean {meant}?"
        for variable in sorted(unread)
        if not (variable.startswith(PREFIX) and _OF_KUBERNETES.search(variable))
        if (meant := similar(variable, known)) and meant not in environ
    ]


def _merge(tables: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the values of `more`, within each table of the same name too."""
    for name, value in more.items():
        present = tables.get(name)
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge(present, value)
        else:
            tables[name] = value


def setting_names(section: str) -> list[str]:
    """The names of a section's settings; empty for an unknown section."""
    field = Settings.model_fields.get(section)
    if section == "new_team":
        return list(LIMITS_BY_NAME)
    by_name: dict[str, type[BaseModel]] = {"models": ModelSettings, "upstreams": UpstreamSettings}
    kind = by_name.get(section) or (field and field.annotation)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _misplaced(tables: list[str], name: str, value: object) -> str:
    """What an unknown name in a table, or an unknown section, is likely meant to be."""
    if tables == ["upstream"] and isinstance(value, Mapping):
        return f"an upstream of a name of its own is [upstreams.{name}]"
    if tables[:1] == ["models"] and len(tables) == 2 and isinstance(value, Mapping):
        return f'a name with a dot is in quotes: [models."{tables[1]}.{name}"]'
    section = "statement" if tables[-1:] == ["statement"] else "".join(tables[:1])
    known = setting_names(section) if tables else list(Settings.model_fields)
    plain = name.lower().replace("-", "_")
    sections = [
        each
        for each in sorted(Settings.model_fields.keys() - _TABLES_BY_NAME)
        if plain in setting_names(each)
    ]
    if sections and plain not in known and not isinstance(value, Mapping):
        return f"{name!r} is a setting of {' or '.join(f'[{each}]' for each in sections)}"
    return unknown_name(name, known, "setting" if tables else "section")


def _explain(fault: Mapping[str, Any], path: Path | None) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return f"{path or 'settings'}: {message}"
    *tables, name = [str(part) for part in fault["loc"]]
    where = f"{path or 'settings'}: " + (f"[{'.'.join(tables)}] " if tables else "")
    if fault["type"] == "extra_forbidden":
        if tables[:2] == ["prices", "targets"]:
            kind = TargetPriceSettings if len(tables) == 3 else PicturePriceSettings
            return where + unknown_name(name, list(kind.model_fields))
        return where + _misplaced(tables, name, fault["input"])
    if fault["type"] in ("model_type", "dict_type"):
        message = "give a table, with a line for each setting"
    return where + (f"{name}: {message}" if tables else f"[{name}] {message}")
