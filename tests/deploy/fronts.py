"""The proxies of deploy/, started as they are but for names, ports and a certificate of our own."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.project.test_readme import free_port
from tests.support.serving import KEY, Served
from tests.support.waiting import until

NGINX = Path("deploy/nginx/image-edit-gateway.conf")
CADDY = Path("deploy/caddy/Caddyfile")
NAME = "gateway.example.com"
FRONTS = ("nginx", "caddy")


def missing(front: str) -> str:
    """Why that proxy can't be started here; empty where it can."""
    lacking = [name for name in (front, "openssl") if not shutil.which(program(name))]
    return f"no {' and no '.join(lacking)} here" if lacking else ""


def program(name: str) -> str:
    """Its path: Debian has servers where a user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin") or name


class Front(Served):
    """A gateway as seen through TLS; `address` is where the client comes from."""

    def __init__(self, port: int, chain: Path) -> None:
        super().__init__(f"https://127.0.0.1:{port}")
        self.port = port
        self.tls = ssl.create_default_context(cafile=str(chain))

    def client(
        self, key: str | None = KEY, *, address: str | None = None, **more: Any
    ) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.tls, local_address=address)
        return super().client(key, transport=transport, **more)


@contextmanager
def front(kind: str, gateway_port: int, folder: Path, *, second_port: int = 0) -> Iterator[Front]:
    """That proxy, serving TLS on a free port in front of a gateway on `gateway_port`.

    nginx also takes a second gateway, where the file has one commented out.
    """
    chain, key = certificate(folder)
    port = free_port()
    make = _nginx if kind == "nginx" else _caddy
    command = make(folder, port, gateway_port, chain, key)
    if second_port:
        site = folder / "site.conf"
        second = f"server 127.0.0.1:{second_port};"
        site.write_text(site.read_text().replace("# server 127.0.0.1:8081;", second))
    log = folder / f"{kind}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env={**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
    served = Front(port, chain)
    try:
        until(lambda: process.poll() is not None or _answers(served), 30)
        assert process.poll() is None, log.read_text()
        yield served
    finally:
        process.terminate()
        process.wait(30)


def _answers(served: Front) -> bool:
    try:
        with served.client(None) as client:
            client.get("/healthz")
    except httpx.TransportError:
        return False
    return True


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1",
         "-keyout", key, "-out", chain],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return chain, key


def nginx_files(folder: Path, port: int, gateway_port: int, chain: Path, key: Path) -> Path:
    """The site as it is shipped, in a nginx that writes below `folder` alone; its main file."""
    site = NGINX.read_text()
    site = site.replace("/etc/ssl/gateway/fullchain.pem", str(chain))
    site = site.replace("/etc/ssl/gateway/privkey.pem", str(key))
    site = re.sub(r"listen \[::\].*\n", "", site)
    site = site.replace("listen 443", f"listen 127.0.0.1:{port}")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    site = site.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{gateway_port};")
    (folder / "site.conf").write_text(site)
    main = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main.write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log stderr notice;\n"
        "events {}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
    )
    return main


def _nginx(folder: Path, port: int, gateway_port: int, chain: Path, key: Path) -> list[str]:
    main = nginx_files(folder, port, gateway_port, chain, key)
    return [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(main)]


def _caddy(folder: Path, port: int, gateway_port: int, chain: Path, key: Path) -> list[str]:
    text = CADDY.read_text()
    text = text.replace(f"\n{NAME} {{\n", f"\nhttps://127.0.0.1:{port} {{\n\ttls {chain} {key}\n")
    text = text.replace("\tadmin off\n", "\tadmin off\n\tauto_https disable_redirects\n")
    text = text.replace("reverse_proxy 127.0.0.1:8080", f"reverse_proxy 127.0.0.1:{gateway_port}")
    file = folder / "Caddyfile"
    file.write_text(text)
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
