"""Starting things: the gateway, the demo, the emulator; and checking before a start."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gateway import emulator
from gateway.accounts.rules.account_settings import AccountSettings, change_settings
from gateway.accounts.tables import keys, teams
from gateway.api.app import create_app
from gateway.cli.check import findings
from gateway.cli.context import author, config_option, in_database, settings_of
from gateway.database.database import Transaction
from gateway.runtime.engines import open_results, open_spans
from gateway.server import ConnectionLimits, PortTaken, listen
from gateway.server import serve as serve_app
from gateway.settings import Settings, SettingsError, used_file
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import shared_folder

DEMO_FOLDER = Path("var/demo")
DEMO_KEY = "sk-demo"
DEMO_BUDGET_USD = "5"


@click.command()
@config_option
@click.option("--host", default=None, help="Listen here instead of where the settings say.")
@click.option("--port", type=int, default=None, help="Listen on this port instead.")
@click.option("--workers", type=int, default=None, help="This many processes instead.")
def serve(config: Path | None, **listening: Any) -> None:
    """Serve the gateway."""
    given = {name: value for name, value in listening.items() if value is not None}
    settings = settings_of(config, {"server": given} if given else None)
    _check_parts(settings)
    _warn_where_nobody_can_ask(settings)
    _serve(settings, lambda url: _announce(settings, url))


def _serve(settings: Settings, announce: Callable[[str], None]) -> None:
    server = settings.server
    try:
        listener = listen(server.host, server.port)
    except PortTaken as error:
        raise click.ClickException(str(error)) from None
    host = f"[{server.host}]" if ":" in server.host else server.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    with shared_folder(server.workers) as metrics_folder:
        started = serve_app(
            functools.partial(create_app, settings, metrics_folder=metrics_folder),
            listener,
            door=door_of(settings),
            workers=server.workers,
            trusted_proxies=server.trusted_proxies,
            on_started=lambda: announce(url),
            on_died=functools.partial(_note_death, settings),
        )
    if not started:
        raise click.ClickException("the gateway did not start; the lines above say why")


def _note_death(settings: Settings, pid: int, status: int) -> None:
    _log(settings).warn("a worker has ended and is replaced", pid=pid, exit_status=status)


def door_of(settings: Settings) -> ConnectionLimits:
    """What the settings allow a connection."""
    server = settings.server
    return ConnectionLimits(
        max_header_lines=server.max_header_lines,
        max_header_bytes=server.max_header_bytes,
        header_seconds=server.header_seconds,
        max_connections=server.max_connections,
        answer_seconds=server.answer_seconds,
    )


def _check_parts(settings: Settings) -> None:
    """What can't be is one clear line here, and a traceback of the server's later."""
    try:
        open_results(settings)
        open_spans(settings).close()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _warn_where_nobody_can_ask(settings: Settings) -> None:
    """Without an upstream key nothing can be bought; without a key of ours nobody can ask."""
    if not settings.upstream.api_key:
        _warn(
            settings,
            "No upstream key is set, so nothing can be bought: set DEEPSHI_API_KEY (or [upstream] "
            "api_key).",
        )
    if not in_database(settings, _has_keys, read=True):
        _warn(
            settings,
            "No API key exists yet, so nobody can ask. Make a team and a key:\n\n"
            f"    {_command()} teams create design --budget-usd 50 --budget-period month\n"
            f"    {_command()} keys create --team design --name first\n\n"
            "They are in force within a second; the gateway need not be restarted.",
        )


def _warn(settings: Settings, text: str) -> None:
    """For who reads the terminal; where lines are asked to be JSON, this is one too."""
    if settings.log.format == "json":
        _log(settings).warn(" ".join(text.split()))
    else:
        click.echo(text, err=True)


def _log(settings: Settings) -> EventLog:
    return EventLog(format=settings.log.format, level=settings.log.level)


def _command() -> str:
    """This command as it can be typed here: by name where that is found, else by its path."""
    if shutil.which("gateway"):
        return "gateway"
    started = Path(sys.argv[0])
    return f"{sys.executable} -m gateway" if started.suffix else os.path.relpath(started)


async def _has_keys(tx: Transaction) -> bool:
    return bool(await keys.list_keys(tx, limit=1))


def _announce(settings: Settings, url: str) -> None:
    if settings.log.format == "json":
        _log(settings).note(
            f"the gateway serves at {url} until it is told to stop",
            upstream=settings.upstream.base_url,
            state=_without_password(settings.state.url),
            results=settings.cache.url,
        )
        return
    click.echo(
        f"The gateway serves at {url}  (a client's base_url is {url}/v1)\n"
        f"  upstream  {settings.upstream.base_url}\n"
        f"  state     {_without_password(settings.state.url)}\n"
        f"  results   {settings.cache.url}\n"
        f"  metrics   {url}/metrics\n"
        "Ctrl-C stops it.",
        err=True,
    )


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if separator and "@" in rest else url


# --- demo -----------------------------------------------------------------------------


@click.command()
@config_option
@click.option("--emulator-port", default=8081, show_default=True)
@click.option("--latency-seconds", default=1.0, show_default=True, help="How slow an edit is.")
def demo(config: Path | None, emulator_port: int, latency_seconds: float) -> None:
    """The gateway in front of the emulator, with the key sk-demo and a state of its own."""
    knobs = emulator.Knobs(latency_seconds=latency_seconds)
    upstream = emulator.EmulatorServer(emulator.EmulatorSettings(knobs=knobs), port=emulator_port)
    settings = _demo_settings(config, upstream, emulator_port)
    _check_free(settings.server.host, settings.server.port)
    try:
        upstream.start()
    except OSError as error:
        raise click.ClickException(
            f"can't listen on 127.0.0.1:{emulator_port}: {_why(error)}. Stop what uses it, or "
            f"choose another: {_command()} demo --emulator-port PORT"
        ) from None
    try:
        _fresh_demo_folder()
        in_database(settings, _make_demo_key)
        _serve(settings, lambda url: _announce_demo(url, upstream.origin))
    finally:
        upstream.stop()


def _why(error: OSError) -> str:
    """The plain reason, without what asyncio says around it."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error)


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
        "cache": {"url": f"disk:{DEMO_FOLDER / 'cache'}"},
        "state": {"url": f"sqlite:{DEMO_FOLDER / 'gateway.db'}"},
    }
    return settings_of(config, overrides)


def _check_free(host: str, port: int) -> None:
    """Before anything is thrown away: is the port ours to take?"""
    try:
        listen(host, port).close()
    except PortTaken as error:
        raise click.ClickException(str(error)) from None


def _fresh_demo_folder() -> None:
    shutil.rmtree(DEMO_FOLDER, ignore_errors=True)
    DEMO_FOLDER.mkdir(parents=True, mode=0o700)


async def _make_demo_key(tx: Transaction) -> None:
    by = author("the demo")
    terms = change_settings(AccountSettings(), "team", {"budget_usd": DEMO_BUDGET_USD})
    await teams.create_team(tx, "demo", terms, by)
    await keys.create_key(tx, "demo", "demo", AccountSettings(), by, secret=DEMO_KEY)


def _announce_demo(url: str, emulator_url: str) -> None:
    photograph = os.path.relpath(emulator.SAMPLE_PHOTOGRAPH)
    click.echo(
        f"The demo serves at {url}, in front of an emulated upstream at {emulator_url}.\n"
        f"The key is {DEMO_KEY}, the team 'demo' may spend ${DEMO_BUDGET_USD} a month of play "
        "money. Paste this twice:\n\n"
        f"    curl -si {url}/v1/images/edits \\\n"
        f"      -H 'Authorization: Bearer {DEMO_KEY}' \\\n"
        "      -F model=deepshi-image-1 \\\n"
        "      -F prompt='make it grey' \\\n"
        f"      -F 'image[]=@{photograph}' | cut -c 1-300\n\n"
        "The first is a MISS that costs $0.01, the second a HIT that costs nothing. What the\n"
        f"upstream billed: curl {emulator_url}/emulator/stats\n"
        "Ctrl-C stops it.",
        err=True,
    )


# --- emulate --------------------------------------------------------------------------


_KINDS: Mapping[str, str] = {
    "bool": "true|false", "int": "STATUS", "float": "SECONDS", "str": "JSON"
}  # fmt: skip


def _knob_options(command: Callable[..., None]) -> Callable[..., None]:
    for knob in reversed(fields(emulator.Knobs)):
        flag = "--" + knob.name.replace("_", "-")
        kind = _KINDS[str(knob.type).removesuffix(" | None")]
        option = click.option(
            flag, knob.name, default=None, metavar=kind, help=knob.metadata["help"]
        )
        command = option(command)
    return command


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8081, show_default=True)
@click.option(
    "--key", "accepted", multiple=True, help="An API key to accept (default sk-emulator)."
)
@_knob_options
def emulate(host: str, port: int, accepted: tuple[str, ...], **knobs: str | None) -> None:
    """Serve the emulator alone: a stand-in for the upstream that really edits pixels.

    Every other flag is a fault to order for all calls, such as --status 500 or --hang true.
    """
    given = {name: emulator.knob_value(text) for name, text in knobs.items() if text is not None}
    try:
        settings = emulator.EmulatorSettings(
            keys=accepted or ("sk-emulator",), knobs=emulator.Knobs().turned(given)
        )
    except emulator.Refused as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"The emulator serves at http://{host}:{port}/v1; its bill is at /emulator/stats.")
    try:
        emulator.run(settings, host, port)
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {host}:{port}: {_why(error)}. Choose another with --port."
        ) from None


# --- check ----------------------------------------------------------------------------


@click.command()
@config_option
def check(config: Path | None) -> None:
    """Check settings, state, results and upstream, and say what was found."""
    settings = settings_of(config)
    click.echo(f"settings  {used_file(config) or 'defaults and the environment'}: valid")
    found = findings(settings)
    for finding in found:
        click.echo(f"{finding.part:<9} {_MARKS[finding.good]}{finding.text}")
    if any(finding.good is False for finding in found):
        raise SystemExit(1)


_MARKS: Mapping[bool | None, str] = {True: "", None: "note: ", False: "FAULT: "}

__all__ = ["check", "demo", "emulate", "serve"]
