"""The whole: its hosts, what runs on them, and what can be done to them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.settings import Settings, load
from tests.deploy.fronts import certificate, nginx_files, program
from tests.faults_of_many.network import Host, Network, network
from tests.support.postgres_servers import PostgresServer, postgres_folder
from tests.support.serving import make_key, toml
from tests.support.waiting import until

GATEWAYS = ("gateway1", "gateway2", "gateway3")
DISTURBED = "gateway2"
"""The host of the gateway that faults of one host befall."""
DATABASES = ("db1", "db2")
UPSTREAMS = ("first", "second")
DOMAIN = "many.test"
KEY, POOR_KEY = "sk-many-0123456789abcdef", "sk-poor-0123456789abcdef"
POOR_BUDGET_NANOS = 300_000_000
DISK_MEGABYTES = 48
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def missing() -> str:
    """Which program is not here; empty where all are."""
    programs = ("nginx", "openssl", "pgbouncer", "setpriv", "faketime")
    lacking = [name for name in programs if not shutil.which(program(name))]
    return f"no {', '.join(lacking)} here" if lacking else ""


class Site:
    """Started by `site()`."""

    def __init__(self, folder: Path, databases: Path, net: Network) -> None:
        self.folder = folder
        self._data = databases
        self.orders = folder / "orders.json"
        self._bucket_orders = folder / "bucket"
        self.hosts = net.hosts
        self.http = httpx.Client(trust_env=False, timeout=5)
        dns = net.add("dns")
        for name in (*DATABASES, *UPSTREAMS, "bucket", "front", *GATEWAYS):
            net.add(name, dns.address, relayed=name in (*DATABASES, DISTURBED))
        self.servers = {
            name: PostgresServer(
                databases / name, self.hosts[name].address, 5432, entered=self.hosts[name].entered
            )
            for name in DATABASES
        }
        self.primary, self.standby = DATABASES
        self._poolers: dict[str, subprocess.Popen[bytes]] = {}

    # --- starting -------------------------------------------------------------------------

    def start(self) -> None:
        self.start_names()
        primary, standby = (self.servers[name] for name in DATABASES)
        primary.make()
        primary.start()
        standby.make_standby_of(primary)
        standby.start()
        primary.confirm_by_standby()
        for name in DATABASES:
            self.start_pooler(name)
        self._bucket_orders.write_text("")
        bucket = self.hosts["bucket"]
        self._python(bucket, "bucket", bucket.address, "5000", str(self._bucket_orders))
        for name in UPSTREAMS:
            self._python(self.hosts[name], "upstream", self.hosts[name].address, "8081")
        until(
            lambda: all(
                self._answers(f"{self.upstream(name)}/emulator/stats") for name in UPSTREAMS
            )
        )
        until(lambda: self._answers(f"http://{bucket.address}:5000/"), 60)
        self.http.put(f"http://{bucket.address}:5000/results", timeout=60).raise_for_status()
        make_key(self.settings, secret=KEY)
        self.new_poor_team("poor")
        for name in GATEWAYS:
            self._mount_disk(name)
            self.start_gateway(name)
        for name in GATEWAYS:
            until(lambda name=name: self.is_ready(name), 60)  # type: ignore[misc]
        self._start_front()

    def _python(self, host: Host, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
        # Or the S3 server would take the host's name for a bucket's.
        environment = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
        host.start(command, self.folder / f"{host.name}.log", environment)

    def start_names(self) -> None:
        names = [f"{name}.{DOMAIN}={host.address}" for name, host in self.hosts.items()]
        self._python(self.hosts["dns"], "names", self.hosts["dns"].address, *names)

    def start_pooler(self, name: str) -> None:
        """PgBouncer beside a server, as its configuration in the documents."""
        host = self.hosts[name]
        file = self._data / f"{name}.ini"
        file.write_text(
            f"[databases]\npostgres = host={host.address} dbname=postgres user=postgres\n"
            f"[pgbouncer]\nlisten_addr = {host.address}\nlisten_port = 6432\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 40\n"
            "max_client_conn = 400\nserver_login_retry = 1\n"
        )
        command = [program("pgbouncer"), "-q", "-u", "pgserver", str(file)]
        self._poolers[name] = host.start(command, self.folder / f"pooler-{name}.log")

    def _mount_disk(self, name: str) -> None:
        disk = self.disk(name)
        disk.mkdir()
        size = f"size={DISK_MEGABYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)

    def disk(self, name: str) -> Path:
        """What that gateway keeps is on a small disk of its own."""
        return self.folder / f"disk-{name}"

    def start_gateway(self, name: str, *, environment: Mapping[str, str] | None = None) -> None:
        file = self.folder / f"{name}.toml"
        file.write_text(toml(self._tables(name)))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file)]
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        spool = {"TMPDIR": str(self.disk(name))}
        self.hosts[name].start(
            command, self.folder / f"{name}.log", {**keys, **spool, **(environment or {})}
        )

    def _tables(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        hosts = ",".join(f"{each}.{DOMAIN}:6432" for each in DATABASES)
        store = f"endpoint=http://bucket.{DOMAIN}:5000&allow_http=true&region=us-east-1"
        return {
            "server": {
                "host": self.hosts[name].address, "port": 8080, "workers": 2, "timezone": "UTC",
                "trusted_proxies": [self.hosts["front"].address], "drain_seconds": 10,
            },
            **{
                f"upstreams.{each}": {
                    "base_url": f"http://{each}.{DOMAIN}:8081/v1", "api_key": "sk-emulator",
                    "timeout_seconds": 60, "first_call_alone": False,
                }
                for each in UPSTREAMS
            },
            **{
                f"models.{each}-image": {
                    "targets": [f"{name}/deepshi-image-1" for name in _first(each, UPSTREAMS)],
                    "price_ceiling_usd": 0.02,
                }
                for each in UPSTREAMS
            },
            "cache": {
                "url": f"s3://results/edits?{store}",
                "local_folder": str(self.disk(name) / "results"), "max_bytes": "30MB",
            },
            "state": {"url": f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"},
        }  # fmt: skip

    def _start_front(self) -> None:
        """The nginx of deploy/, with its three gateways."""
        front = self.hosts["front"]
        chain, key = certificate(self.folder)
        main = nginx_files(self.folder, 443, 8080, chain, key)
        site = self.folder / "site.conf"
        text = site.read_text().replace("listen 127.0.0.1:", f"listen {front.address}:")
        servers = "\n".join(f"server {self.hosts[name].address}:8080;" for name in GATEWAYS)
        site.write_text(text.replace("server 127.0.0.1:8080;", servers))
        command: list[str | Path] = [
            program("nginx"),
            "-e",
            "stderr",
            "-p",
            self.folder,
            "-c",
            main,
        ]
        front.start(command, self.folder / "nginx.log")

    # --- looking --------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        """Of a command that is run beside the database."""
        file = self.folder / "beside.toml"
        state = {"state": {"url": self.servers[self.primary].url}}
        file.write_text(toml({**self._tables(GATEWAYS[0]), **state}))
        return file

    @property
    def settings(self) -> Settings:
        return load(self.config, environment={})

    @property
    def url(self) -> str:
        return f"https://{self.hosts['front'].address}"

    def upstream(self, name: str) -> str:
        return f"http://{self.hosts[name].address}:8081"

    def _answers(self, url: str) -> bool:
        try:
            self.http.get(url)
        except httpx.TransportError:
            return False
        return True

    def is_ready(self, name: str) -> bool:
        try:
            answer = self.http.get(f"http://{self.hosts[name].address}:8080/readyz", timeout=2)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["degraded"] == []

    def new_poor_team(self, name: str) -> None:
        """A team that can pay for little, with a key of its own."""
        terms = {"budget_usd": str(POOR_BUDGET_NANOS / 1e9)}
        make_key(self.settings, team=name, secret=f"{POOR_KEY}-{name}", team_terms=terms)

    # --- faults ---------------------------------------------------------------------------

    def order_bucket(self, order: str) -> None:
        self._bucket_orders.write_text(order)

    def promote(self) -> None:
        """The standby takes the primary's place."""
        self.servers[self.standby].promote()
        self.primary, self.standby = self.standby, self.primary

    def rebuild_standby(self) -> None:
        """The lost server comes back as a standby of the new primary."""
        primary, standby = self.servers[self.primary], self.servers[self.standby]
        shutil.rmtree(standby.data)
        standby.make_standby_of(primary)
        standby.start()
        primary.confirm_by_standby()

    def restart_poolers(self) -> None:
        for name, pooler in list(self._poolers.items()):
            pooler.terminate()
            pooler.wait(10)
            self.start_pooler(name)

    @property
    def clock(self) -> Path:
        """By how many seconds a gateway's clock is off, such as "+600"."""
        return self.folder / "clock"

    def restart_gateway(self, name: str, *, with_clock: bool = False) -> None:
        """With a clock, it follows `clock` from then on."""
        self.hosts[name].signal(signal.SIGTERM)
        self.hosts[name].wait(30)
        faked = {
            "LD_PRELOAD": _FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.start_gateway(name, environment=faked if with_clock else {})

    def close(self) -> None:
        for server in self.servers.values():
            server.kill()
        for name in GATEWAYS:
            self.hosts[name].kill()
            subprocess.run(["umount", self.disk(name)], check=False, capture_output=True)


def _first(name: str, names: Sequence[str]) -> Sequence[str]:
    return sorted(names, key=lambda each: each != name)


@contextmanager
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-many-")))
        folder.chmod(0o755)
        databases = stack.enter_context(postgres_folder())
        made = Site(folder, databases, stack.enter_context(network()))
        stack.callback(made.close)
        made.start()
        yield made
