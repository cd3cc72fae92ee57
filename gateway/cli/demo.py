"""`gateway demo`."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from gateway import emulator
from gateway.accounts.credentials import TOKEN_PREFIX, new_secret
from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import keys, teams
from gateway.cli.demo_history import DemoHistory
from gateway.cli.options import config_option
from gateway.cli.serve import command_here, reason_of, run_server
from gateway.cli.state_access import author, change_state, create_state, settings_of, with_database
from gateway.database.clock import now_ms
from gateway.database.database import Database, Transaction
from gateway.server import PortTaken, listen
from gateway.server.allocator import keep_large_blocks
from gateway.settings import Settings

DEMO_FOLDER = Path("var/demo")
DEMO_KEY = "sk-demo"
DEMO_BUDGET_USD = "5"


@click.command()
@config_option
@click.option("--emulator-port", type=click.IntRange(0, 65535), default=8081, show_default=True)
@click.option(
    "--latency-seconds",
    type=float,
    default=1.0,
    show_default=True,
    help="How slow an edit is.",
)
@click.option("--with-history", is_flag=True, help="Begin with a month of made-up requests.")
def demo(
    config: Path | None, emulator_port: int, latency_seconds: float, with_history: bool
) -> None:
    """The gateway in front of the emulator, with the key sk-demo and a state of its own."""
    keep_large_blocks()  # before any thread starts
    try:
        knobs = emulator.Knobs().turned({"latency_seconds": latency_seconds})
    except emulator.Refused as error:
        raise click.UsageError(str(error)) from None
    upstream = emulator.EmulatorServer(emulator.EmulatorSettings(knobs=knobs), port=emulator_port)
    settings = _demo_settings(config, upstream, emulator_port)
    token = settings.admin.token.get_secret_value()
    try:  # before the demo's folder is deleted
        listen(settings.server.host, settings.server.port).close()
    except PortTaken as error:
        raise click.ClickException(str(error)) from None
    try:
        upstream.start()
    except OSError as error:
        raise click.ClickException(
            f"can't listen on 127.0.0.1:{emulator_port}: {reason_of(error)}. Stop what uses it, or "
            f"choose another: {command_here()} demo --emulator-port PORT"
        ) from None
    try:
        shutil.rmtree(DEMO_FOLDER, ignore_errors=True)
        DEMO_FOLDER.mkdir(parents=True, mode=0o700)
        create_state(settings)
        change_state(settings, _make_demo_key)
        if with_history:
            _make_history(settings)
        run_server(settings, lambda url: announce_demo(url, upstream.origin, token))
    finally:
        upstream.stop()


def _demo_settings(
    config: Path | None, upstream: emulator.EmulatorServer, emulator_port: int
) -> Settings:
    overrides: Mapping[str, Mapping[str, Any]] = {
        "server": {"workers": 1},
        "upstream": {
            "name": "emulator",
            "base_url": f"http://127.0.0.1:{emulator_port}/v1",
            "api_key": upstream.api_key,
        },
        "accounts": {"end_users": "as-sent"},
        "cache": {"url": f"disk:{DEMO_FOLDER / 'cache'}"},
        "state": {"url": f"sqlite:{DEMO_FOLDER / 'gateway.db'}"},
    }
    settings = settings_of(config, overrides)
    if settings.admin.token.get_secret_value():
        return settings
    return settings_of(config, {**overrides, "admin": {"token": new_secret(TOKEN_PREFIX)}})


def _make_history(settings: Settings) -> None:
    """Write a month of requests, a transaction for each day."""
    history = DemoHistory(now_ms(), settings.zone, settings.upstream.name)

    async def write(database: Database) -> None:
        callers = await database.write(history.make_accounts)
        for requests in history.days(callers):
            await database.write(partial(history.write, requests=requests))
        await database.write(history.ask_for_money)

    with_database(settings, write)


async def _make_demo_key(tx: Transaction) -> None:
    by = author("the demo")
    terms = change_settings(AccountSettings(), "team", {"budget_usd": DEMO_BUDGET_USD})
    await teams.create_team(tx, "demo", terms, by)
    await keys.create_key(tx, "demo", "demo", AccountSettings(), by, secret=DEMO_KEY)


def announce_demo(url: str, emulator_url: str, token: str) -> None:
    folder = DEMO_FOLDER.resolve()
    photograph = os.path.relpath(emulator.SAMPLE_PHOTOGRAPH)
    click.echo(
        f"The demo serves at {url}, in front of an emulated upstream at {emulator_url}.\n\n"
        f"    {url}/console   sign in with  {token}\n\n"
        f"The key is {DEMO_KEY}, the team 'demo' may spend ${DEMO_BUDGET_USD} a month of play "
        "money. Paste this twice:\n\n"
        f"    curl -si {url}/v1/images/edits \\\n"
        f"      -H 'Authorization: Bearer {DEMO_KEY}' \\\n"
        "      -F model=deepshi-image-1 \\\n"
        "      -F prompt='make it grey' \\\n"
        f"      -F 'image[]=@{photograph}' | cut -c 1-300\n\n"
        "The first is a MISS that costs $0.01, the second a HIT that costs nothing. What the\n"
        f"upstream billed: curl {emulator_url}/emulator/stats\n"
        "Commands in another terminal work on the demo after:\n\n"
        f"    export GATEWAY_STATE__URL={shlex.quote(f'sqlite:{folder}/gateway.db')} "
        f"GATEWAY_CACHE__URL={shlex.quote(f'disk:{folder}/cache')}\n\n"
        "Ctrl-C stops it.",
        err=True,
    )
