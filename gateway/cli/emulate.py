"""`gateway emulate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

import click

from gateway import emulator
from gateway.cli.serve import reason_of

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
@click.option(
    "--api",
    type=click.Choice(sorted(emulator.WIRES)),
    default=emulator.DEFAULT_WIRE,
    show_default=True,
    help="Whose interface it has, and whose prices.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True)
@click.option(
    "--key", "accepted", multiple=True, help="An API key to accept (default sk-emulator)."
)
@_knob_options
def emulate(api: str, host: str, port: int, accepted: tuple[str, ...], **knobs: str | None) -> None:
    """Serve the emulator alone: a stand-in for the upstream that really edits pixels.

    Every other flag is a fault to order for all calls, such as --status 500 or --hang true.
    """
    given = {name: emulator.knob_value(text) for name, text in knobs.items() if text is not None}
    try:
        settings = emulator.EmulatorSettings(
            keys=accepted or ("sk-emulator",), knobs=emulator.Knobs().turned(given), api=api
        )
    except emulator.Refused as error:
        raise click.UsageError(str(error)) from None
    base_path = emulator.WIRES[api].base_path
    click.echo(
        f"The emulator serves at http://{host}:{port}{base_path}; its bill is at /emulator/stats."
    )
    try:
        emulator.run(settings, host, port)
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {host}:{port}: {reason_of(error)}. Choose another with --port."
        ) from None
