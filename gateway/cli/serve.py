"""`gateway serve`."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gateway.accounts.tables import keys
from gateway.accounts.tables.keys import KeyRecord
from gateway.api.app import create_app
from gateway.cli.options import config_option
from gateway.cli.state_access import prices_of, settings_of, with_database
from gateway.console import console_routes
from gateway.database.database import Database
from gateway.database.migrate import migrate
from gateway.runtime.backends import check_upstream_keys, open_results, open_spans
from gateway.server import ConnectionLimits, PortTaken, listen
from gateway.server import serve as serve_app
from gateway.server.allocator import keep_large_blocks
from gateway.settings import Settings, SettingsError, suspects
from gateway.telemetry.log import EventLog
from gateway.telemetry.metrics import shared_folder


@click.command()
@config_option
@click.option("--host", default=None, help="Listen here instead of where the settings say.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead.")
@click.option("--workers", type=click.IntRange(1, 64), help="This many processes instead.")
def serve(config: Path | None, **listening: Any) -> None:
    """Serve the gateway."""
    keep_large_blocks()  # before any thread starts, so before the state is read
    given = {name: value for name, value in listening.items() if value is not None}
    settings = settings_of(config, {"server": given} if given else None)
    _check_parts(settings)
    for suspect in suspects(config):
        _warn(settings, f"Warning: {suspect}")
    _warn_without_keys(settings, config)
    run_server(settings, lambda url: _announce(settings, url))


def run_server(settings: Settings, announce: Callable[[str], None]) -> None:
    server = settings.server
    try:
        listener = listen(server.host, server.port)
    except PortTaken as error:
        raise click.ClickException(str(error)) from None
    host = f"[{server.host}]" if ":" in server.host else server.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    with shared_folder(server.workers) as metrics_folder:
        started = serve_app(
            functools.partial(
                create_app, settings, metrics_folder=metrics_folder, more_routes=console_routes
            ),
            listener,
            limits=connection_limits_of(settings),
            workers=server.workers,
            trusted_proxies=server.trusted_proxies,
            on_started=lambda: announce(url),
            on_died=lambda pid, status: _log(settings).warning(
                "a worker has ended and is replaced", pid=pid, exit_status=status
            ),
        )
    if not started:
        raise click.ClickException("the gateway did not start; the lines above say why")


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """What the settings allow a connection."""
    names = [field.name for field in fields(ConnectionLimits)]
    return ConnectionLimits(**{name: getattr(settings.server, name) for name in names})


def _check_parts(settings: Settings) -> None:
    """Report what can't be opened in one line, before the server starts."""
    try:
        open_results(settings)
        open_spans(settings).close()
        check_upstream_keys(settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    prices_of(settings)


def _warn_without_keys(settings: Settings, config: Path | None) -> None:
    """Warn where no edit can be requested, because nobody has a key."""
    if not with_database(settings, _migrated_keys, create=True):
        option = f" --config {shlex.quote(str(config.resolve()))}" if config else ""
        _warn(
            settings,
            "No API key exists yet, so nobody can ask. Make a team and a key:\n\n"
            f"    {command_here()} teams create design --budget-usd 50{option}\n"
            f"    {command_here()} keys create --team design --name first{option}\n\n"
            "They are in force within a second; the gateway need not be restarted.",
        )


async def _migrated_keys(database: Database) -> Sequence[KeyRecord]:
    """The first key, once the state has this version's schema."""
    await migrate(database)
    return await database.read(lambda tx: keys.list_keys(tx, limit=1))


def _warn(settings: Settings, text: str) -> None:
    """Print a warning, or log it where the log is JSON."""
    if settings.log.format == "json":
        _log(settings).warning(" ".join(text.split()))
    else:
        click.echo(text, err=True)


def _log(settings: Settings) -> EventLog:
    return EventLog(format=settings.log.format, level=settings.log.level)


def command_here() -> str:
    """This command as it can be typed here: its name if found in PATH, else its path."""
    if shutil.which("gateway"):
        return "gateway"
    started = Path(sys.argv[0])
    return f"{sys.executable} -m gateway" if started.suffix else os.path.relpath(started)


def _addresses(settings: Settings) -> list[str]:
    return [each.base_url for each in settings.every_upstream.values()]


def _announce(settings: Settings, url: str) -> None:
    if settings.log.format == "json":
        _log(settings).info(
            f"the gateway serves at {url} until it is told to stop",
            upstream=", ".join(_addresses(settings)),
            state=settings.state.printable_url,
            results=settings.cache.url,
        )
        return
    upstreams = "".join(f"  upstream  {address}\n" for address in _addresses(settings))
    click.echo(
        f"The gateway serves at {url}  (a client's base_url is {url}/v1)\n"
        f"{upstreams}"
        f"  state     {settings.state.printable_url}\n"
        f"  results   {settings.cache.url}\n"
        f"  metrics   {url}/metrics\n"
        "Ctrl-C stops it.",
        err=True,
    )


def reason_of(error: OSError) -> str:
    """The operating system's reason, without asyncio's words around it."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error)
