"""The settings of an account as command-line options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from gateway.accounts.rules.account_settings import change_settings, fields_of
from gateway.accounts.rules.field_types import FLAG, SWITCH, TAGS, AccountField
from gateway.accounts.rules.organisation_file import NONE
from gateway.accounts.tables.accounts import Edit
from gateway.cli.options import Command, stacked
from gateway.model.caller import Level

_WORDS: Mapping[str, bool] = {"true": True, "false": False, "yes": True, "no": False}


def setting_options(level: Level) -> Callable[[Command], Command]:
    """An option for each setting of this level; the value `none` removes a setting."""
    return stacked(*map(_option, fields_of(level).values()))


def _option(field: AccountField) -> Callable[[Command], Command]:
    if field.type is TAGS:
        return click.option(
            "--tag", field.name, multiple=True, metavar="NAME=TEXT", help=field.help
        )
    return click.option(_flag(field), is_flag=field.type is SWITCH, default=None, help=field.help)


def edit_of(level: Level, options: Mapping[str, Any]) -> Edit:
    """The change of settings that these options ask for. Raises BadParameter."""
    given = {
        name: _value(field, options[name])
        for name, field in fields_of(level).items()
        if options.get(name) not in (None, ())
    }
    return lambda settings: change_settings(settings, level, given)


def _value(field: AccountField, value: Any) -> object:
    if field.type is TAGS:
        pairs = [tag.partition("=") for tag in value]
        if wrong := [tag for tag, equals, _ in pairs if not equals]:
            raise click.BadParameter(f"write a tag as NAME=TEXT, not {wrong[0]!r}")
        return {tag: text for tag, _, text in pairs}
    if isinstance(value, str) and value.lower() == NONE:
        return None
    if field.type is FLAG:
        if value.lower() not in _WORDS:
            raise click.BadParameter(f"{_flag(field)} takes true or false")
        return _WORDS[value.lower()]
    return value


def _flag(field: AccountField) -> str:
    return "--" + field.name.replace("_", "-")
