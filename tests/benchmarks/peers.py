"""The servers that are measured, each started in a process of its own."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.settings import load
from tests.benchmarks.measuring import (
    BOOKED,
    FLOOR,
    FORWARDER,
    GATEWAY,
    LITELLM,
    NGINX,
    SKETCH,
    TWO_WORKERS,
)
from tests.benchmarks.processes import NotStarted, Process, free_port
from tests.benchmarks.work import KEY
from tests.support.serving import make_key

HERE = Path(__file__).parent
MODULES = Path("/usr/lib/nginx/modules")
LITELLM_PACKAGE = "litellm[proxy]==1.106.0"
LITELLM_VENV = Path(".venv-bench")
LITELLM_START_SECONDS = 180.0


class Missing(Exception):
    """A peer that can't take part here; the text says why."""


@dataclass(frozen=True)
class Site:
    """What a peer is started with: the upstream's base URL, and a folder of its own."""

    upstream: str
    folder: Path


Start = Callable[[Site], Process]


def start_constant(folder: Path) -> Process:
    """The constant answer: the floor, and everybody's upstream."""
    return _uvicorn("constant", folder)


def start_floor(site: Site) -> Process:
    return start_constant(site.folder)


def start_sketch(site: Site) -> Process:
    return _uvicorn("sketch", site.folder, {"BENCH_FOLDER": str(site.folder / "results")})


def start_forwarder(site: Site) -> Process:
    return _uvicorn("forwarder", site.folder, {"BENCH_UPSTREAM": site.upstream})


def start_booked(site: Site) -> Process:
    environment = {"BENCH_UPSTREAM": site.upstream, "BENCH_FOLDER": str(site.folder)}
    return _uvicorn("booked", site.folder, environment)


def start_gateway(site: Site, workers: int = 1) -> Process:
    """The gateway as it is installed: SQLite, results on the disk, money, metrics, the journal.

    Its cache is soon full, as one is in the long run: new results take the places of old ones.
    """
    port = free_port()
    environment = {
        "GATEWAY_SERVER__PORT": str(port),
        "GATEWAY_SERVER__WORKERS": str(workers),
        "GATEWAY_UPSTREAM__BASE_URL": site.upstream,
        "GATEWAY_UPSTREAM__API_KEY": "sk-upstream",
        "GATEWAY_CACHE__URL": f"disk:{site.folder / 'results'}",
        "GATEWAY_CACHE__MAX_BYTES": "500MB",
        "GATEWAY_STATE__URL": f"sqlite:{site.folder / 'state.db'}",
    }
    terms = {"budget_usd": "1000000", "budget_period": "month", "requests_per_minute": 10_000_000}
    make_key(load(environment=environment), team="bench", secret=KEY, team_terms=terms)
    return Process(
        [sys.executable, "-m", "gateway", "serve"],
        url=f"http://127.0.0.1:{port}",
        log=site.folder / "server.log",
        environment=environment,
        ready="/readyz",
    )


def start_two_workers(site: Site) -> Process:
    return start_gateway(site, workers=2)


def start_nginx(site: Site) -> Process:
    """nginx with Lua, from Debian's packages. Raises Missing."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if binary is None or not (MODULES / "ngx_http_lua_module.so").exists():
        raise Missing("not installed (on Debian: apt-get install nginx libnginx-mod-http-lua)")
    port = free_port()
    text = (HERE / "nginx.conf").read_text()
    origin = site.upstream.removesuffix("/v1")
    for name, value in {
        "USER": f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}",
        "FOLDER": site.folder,
        "MODULES": MODULES,
        "PORT": port,
        "UPSTREAM": origin,
    }.items():
        text = text.replace(name, str(value))
    conf = site.folder / "nginx.conf"
    conf.write_text(text)
    return Process(
        [binary, "-p", str(site.folder), "-c", str(conf)],
        url=f"http://127.0.0.1:{port}",
        log=site.folder / "server.log",
    )


def start_litellm(site: Site) -> Process:
    """LiteLLM from a virtual environment of its own, made when first needed. Raises Missing."""
    port = free_port()
    return Process(
        [
            str(_litellm()), "--config", str(HERE / "litellm.yaml"),
            "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
        ],
        url=f"http://127.0.0.1:{port}",
        log=site.folder / "server.log",
        environment={
            "BENCH_UPSTREAM": site.upstream,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
        },
        ready="/health/liveliness",
        patience_seconds=LITELLM_START_SECONDS,
    )  # fmt: skip


def _litellm() -> Path:
    command = (LITELLM_VENV / "bin" / "litellm").absolute()
    if command.exists():
        return command
    click.echo(f"installing {LITELLM_PACKAGE} into {LITELLM_VENV} (once; a minute or more) …")
    venv.create(LITELLM_VENV, with_pip=True, clear=True)
    python = LITELLM_VENV / "bin" / "python"
    install = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    done = subprocess.run([*install, LITELLM_PACKAGE], capture_output=True, text=True, check=False)
    if done.returncode or not command.exists():
        lines = done.stderr.strip().splitlines()
        raise Missing(f"could not be installed: {lines[-1] if lines else 'pip said nothing'}")
    return command


def _uvicorn(app: str, folder: Path, environment: dict[str, str] | None = None) -> Process:
    port = free_port()
    return Process(
        [
            sys.executable, "-m", "uvicorn", f"tests.benchmarks.apps:{app}", "--factory",
            "--port", str(port), "--no-access-log", "--log-level", "warning",
            "--loop", "uvloop", "--http", "httptools",
        ],
        url=f"http://127.0.0.1:{port}",
        log=folder / "server.log",
        environment=environment,
    )  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """One of those that are compared."""

    name: str
    start: Start

    def started(self, upstream: str, folder: Path) -> Process:
        """Raises Missing with the reason where it can't run here."""
        own = folder / self.name.replace(" ", "-").replace("+", "and")
        own.mkdir(parents=True)
        try:
            return self.start(Site(upstream, own))
        except NotStarted as error:
            raise Missing(str(error)) from error


PEERS = (
    Peer(FLOOR, start_floor),
    Peer(SKETCH, start_sketch),
    Peer(GATEWAY, start_gateway),
    Peer(TWO_WORKERS, start_two_workers),
    Peer(NGINX, start_nginx),
    Peer(FORWARDER, start_forwarder),
    Peer(BOOKED, start_booked),
    Peer(LITELLM, start_litellm),
)
