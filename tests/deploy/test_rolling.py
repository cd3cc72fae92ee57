"""Two gateways behind nginx, restarted in turn as deploy/README.md says: nobody notices."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from gateway.emulator import EmulatorServer
from tests.deploy.fronts import Front, front, missing
from tests.project.test_readme import free_port
from tests.support.serving import PHOTOGRAPH, GatewayProcess, make_key, settings_for, tables_of
from tests.support.waiting import until

CLIENTS = 3


class Buying:
    """Clients that buy one edit after the other and never ask twice; what they were told.

    Each asks over a connection of its own. A reload of nginx closes kept ones that are idle just
    then, whatever stands behind it, and a request that is on its way over one is lost with it.
    """

    def __init__(self, served: Front) -> None:
        self.told: Counter[int | str] = Counter()
        self._served = served
        self._stop = threading.Event()
        self._clients = [
            threading.Thread(target=self._buy, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> Buying:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join(60)

    def go_on(self) -> None:
        """Wait until each has bought some more."""
        before = self.told.total()
        until(lambda: self.told.total() > before + 2 * CLIENTS, 60)

    def _buy(self, client_number: int) -> None:
        files = [("image[]", ("a.jpg", PHOTOGRAPH))]
        with self._served.client() as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                data = {"model": "deepshi-image-1", "prompt": f"{client_number} {number}"}
                try:
                    answer = client.post(
                        "/v1/images/edits",
                        data=data,
                        files=files,
                        headers={"connection": "close"},
                    )
                except Exception as error:  # noqa: BLE001 - told to the test
                    self.told[type(error).__name__] += 1
                else:
                    self.told[answer.status_code] += 1


def reload(folder: Path, old: str, new: str) -> None:
    """Change nginx's file, have it read, and wait until no old worker takes what is new."""
    site, log = folder / "site.conf", folder / "nginx.log"
    text = site.read_text()
    assert text.count(old) == 1
    site.write_text(text.replace(old, new))
    before = log.read_text().count("gracefully shutting down")
    os.kill(int((folder / "nginx.pid").read_text()), signal.SIGHUP)
    until(lambda: log.read_text().count("gracefully shutting down") > before, 30)


def test_gateways_that_are_restarted_in_turn_are_not_missed(
    emulator: EmulatorServer, tmp_path: Path
) -> None:
    if reason := missing("nginx"):
        pytest.skip(reason)
    make_key(settings_for(tmp_path, emulator))
    emulator.order({"latency_seconds": 0.2})
    ports = [free_port(), free_port()]

    def start(number: int) -> GatewayProcess:
        more = {"server": {"port": ports[number], "trusted_proxies": ["127.0.0.1"]}}
        return GatewayProcess(tables_of(tmp_path, emulator, more), tmp_path / str(number))

    gateways = [start(0), start(1)]
    with (
        front("nginx", ports[0], tmp_path, second_port=ports[1]) as served,
        Buying(served) as buying,
    ):
        for number, port in enumerate(ports):
            buying.go_on()
            reload(tmp_path, f"127.0.0.1:{port};", f"127.0.0.1:{port} down;")
            assert gateways[number].stop(60) == 0
            buying.go_on()
            gateways[number] = start(number)
            reload(tmp_path, f"127.0.0.1:{port} down;", f"127.0.0.1:{port};")
        buying.go_on()
    for gateway in gateways:
        assert gateway.stop(60) == 0

    assert set(buying.told) == {200}
    assert emulator.stats()["billed_calls"] == buying.told.total()
