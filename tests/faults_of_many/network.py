"""Hosts on one machine: network namespaces, each with an address, joined by a bridge."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_NETNS = Path("/etc/netns")
# With a host name of its own: by that a gateway knows which others are on its host.
_NAMED = ("unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"')


def missing() -> str:
    """Why there can be no such network here; empty where there can."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in ("ip", "unshare", "hostname") if not shutil.which(name)]
    if lacking:
        return f"no {', '.join(lacking)} here"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun here"
    tried = ("unshare", "--net", "ip", "link", "add", "name", "try0", "type", "bridge")
    return (
        ""
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0
        else ("no network namespaces or bridges here")
    )


@dataclass(frozen=True)
class Disturbance:
    """The share of its packets that a host loses, and by how much the others are late."""

    loss: float = 0
    delay_seconds: float = 0
    sent: bool = True
    received: bool = True


class Host:
    """A network namespace; its processes are started, and signalled together."""

    def __init__(
        self, name: str, namespace: str, address: str, relay: subprocess.Popen[bytes] | None
    ) -> None:
        self.name, self.address = name, address
        self._namespace, self._relay = namespace, relay
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def entered(self) -> Sequence[str]:
        """A command that runs another on this host."""
        return ("ip", "netns", "exec", self._namespace, *_NAMED, self.name)

    def start(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self.entered, *command], stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        self._processes.append(process)
        return process

    def signal(self, number: signal.Signals) -> None:
        """To every process of this host, and to theirs."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds: float) -> None:
        """Until all of its processes have ended."""
        for process in self._processes:
            process.wait(seconds)
        self._processes.clear()

    def disturb(self, what: Disturbance) -> None:
        assert self._relay, "or its packets take another way"
        assert self._relay.stdin
        sides = (what.sent, what.received)
        order = " ".join(f"{what.loss * side} {what.delay_seconds * side}" for side in sides)
        self._relay.stdin.write(f"{order}\n".encode())
        self._relay.stdin.flush()


class Network:
    """A bridge with an address for this process, and hosts."""

    def __init__(self) -> None:
        own = os.getpid()
        self._name = f"ie{own % 100_000}"
        self._subnet = f"10.{64 + own % 128}.{own // 128 % 256}"
        self.hosts: dict[str, Host] = {}
        self._relays: list[subprocess.Popen[bytes]] = []
        self.address = f"{self._subnet}.1"

    def open(self) -> None:
        _run("ip", "link", "add", self._name, "type", "bridge")
        _run("ip", "addr", "add", f"{self.address}/24", "dev", self._name)
        _run("ip", "link", "set", self._name, "up")

    def add(self, name: str, names: str = "", *, relayed: bool = False) -> Host:
        """`names` is the address of its DNS server. Only one that is `relayed` can be disturbed."""
        number = len(self.hosts) + 11
        namespace, line = f"{self._name}-{name}", f"{self._name}h{number}"
        address = f"{self._subnet}.{number}"
        _run("ip", "netns", "add", namespace)
        relay = self._relay(line, f"{line}i") if relayed else None
        self.hosts[name] = host = Host(name, namespace, address, relay)
        if relayed:
            _run("ip", "link", "set", f"{line}i", "netns", namespace, "name", "eth0")
        else:
            peer = ("peer", "name", "eth0", "netns", namespace)
            _run("ip", "link", "add", line, "type", "veth", *peer)
        _run("ip", "link", "set", line, "master", self._name, "up")
        for command in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _run("ip", "-n", namespace, *command)
        folder = _NETNS / namespace
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {names or address}\n")
        return host

    def _relay(self, line: str, inside: str) -> subprocess.Popen[bytes]:
        relay = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.relay", line, inside],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._relays.append(relay)
        assert relay.stdout
        assert relay.stdout.readline(), "it did not start"
        return relay

    def close(self) -> None:
        for relay in self._relays:
            relay.kill()
            relay.wait(10)
        for host in self.hosts.values():
            host.kill()
            namespace = f"{self._name}-{host.name}"
            subprocess.run(["ip", "netns", "del", namespace], check=False)
            shutil.rmtree(_NETNS / namespace, ignore_errors=True)
        subprocess.run(["ip", "link", "del", self._name], check=False)


@contextmanager
def network() -> Iterator[Network]:
    made = Network()
    try:
        made.open()
        yield made
    finally:
        made.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
