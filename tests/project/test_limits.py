"""Every place that a limit must reach: what follows from its row, and what is written by hand."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.accounts.rules.limits import LIMITS, Limit
from gateway.api.openapi.document import document
from gateway.cli import main
from gateway.model.caller import LEVELS, Level, Limits
from gateway.queries.models.key_status import SHOWN_WITH_USE
from gateway.settings import Settings, setting_names

LIMIT = pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
DOCS = Path("docs/limits.md")
EXAMPLE = Path("config/organisation.example.toml")
COMMANDS: dict[Level, list[tuple[str, str]]] = {
    "organisation": [("organisation", "update")],
    "team": [("teams", "create"), ("teams", "update")],
    "key": [("keys", "create"), ("keys", "update")],
}
ROUTES: dict[Level, list[tuple[str, str]]] = {
    "organisation": [("/admin/v1/organisation", "patch")],
    "team": [("/admin/v1/teams", "post"), ("/admin/v1/teams/{name}", "patch")],
    "key": [("/admin/v1/keys", "post"), ("/admin/v1/keys/{id}", "patch")],
}
DOCUMENT: Any = document(Settings.model_validate({"admin": {"token": "root"}}))
DERIVED = ("model/caller.py", "accounts/rules", "accounts/tables", "api", "cli", "queries")
"""Where a limit is only described, stored or shown."""


def test_the_rows_are_the_fields_of_limits() -> None:
    assert [limit.column for limit in LIMITS] == [field.name for field in fields(Limits)]
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)


@LIMIT
def test_a_limit_has_a_column(limit: Limit) -> None:
    sql = "".join(path.read_text() for path in Path("gateway/database/migrations").glob("*.sql"))
    assert any(f" {limit.column} {kind}" in sql for kind in ("BIGINT", "TEXT"))


@LIMIT
def test_a_limit_is_an_option_of_the_command_line(limit: Limit) -> None:
    flag = "--" + limit.name.replace("_", "-")
    for level in limit.levels:
        for group, name in COMMANDS[level]:
            commands = main.get_command(click.Context(main), group)
            assert isinstance(commands, click.Group)
            command = commands.commands[name]
            assert any(flag in option.opts for option in command.params), (group, name)


@LIMIT
def test_a_limit_is_a_field_of_the_admin_api(limit: Limit) -> None:
    paths, schemas = DOCUMENT["paths"], DOCUMENT["components"]["schemas"]
    for level in limit.levels:
        assert limit.name in schemas[level.capitalize()]["properties"]
        for path, method in ROUTES[level]:
            body = paths[path][method]["requestBody"]["content"]["application/json"]["schema"]
            assert limit.name in body["properties"], (path, method)


@LIMIT
def test_a_limit_is_shown_to_the_holder_of_a_key(limit: Limit) -> None:
    schemas = DOCUMENT["components"]["schemas"]
    status, level = schemas["KeyStatus"]["properties"], schemas["Level"]["properties"]
    shown = {*status, *level, *SHOWN_WITH_USE}
    assert limit.name in shown


@LIMIT
def test_a_limit_is_in_the_example_files(limit: Limit) -> None:
    example = tomllib.loads(EXAMPLE.read_text())
    design = example["teams"]["design"]
    tables = (example["organisation"], design, design["keys"]["website"])
    for level, table in zip(LEVELS, tables, strict=True):
        assert (limit.name in table) is (level in limit.levels), level
    assert limit.name in setting_names("new_team")
    assert f"# {limit.name} = " in Path("config/gateway.toml").read_text()


def test_the_documented_table_is_the_table_of_limits() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert lines == [
        f"| `{limit.name}` | {limit.help} | {limit.unit or '–'} | {', '.join(limit.levels)} | "
        f"{limit.combine} | {'yes' if limit.key_may_exceed else 'no'} |"
        for limit in LIMITS
    ]


def reads(node: ast.AST, column: str) -> bool:
    """Is this `limits.COLUMN` or `row["COLUMN"]`?"""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value == column
    return isinstance(node, ast.Attribute) and node.attr == column


@pytest.fixture(scope="module")
def expressions() -> list[ast.AST]:
    """Of every module that does more than describe, store or show limits."""
    return [
        node
        for path in Path("gateway").rglob("*.py")
        if not str(path.relative_to("gateway")).startswith(DERIVED)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Subscript, ast.Attribute))
    ]


@LIMIT
def test_a_limit_is_enforced(limit: Limit, expressions: list[ast.AST]) -> None:
    assert any(reads(node, limit.column) for node in expressions), (
        f"nothing reads Limits.{limit.column}"
    )
