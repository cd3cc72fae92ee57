"""What befalls the site, a row each: what is done, for how long, and how it is undone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from tests.faults_of_many.network import Disturbance
from tests.faults_of_many.site import DISTURBED, Site
from tests.support.waiting import until

CUT = Disturbance(loss=1)
DEAF = Disturbance(loss=1, sent=False)
MUTE = Disturbance(loss=1, received=False)
LOSS = Disturbance(loss=0.3)
DELAY = Disturbance(delay_seconds=0.2)


@dataclass(frozen=True)
class Fault:
    """A row of the table. `seconds` is how long it lasts; 0 if it ends by itself."""

    name: str
    what: str
    inflicted: Callable[[Site], AbstractContextManager[None]] = field(repr=False)
    seconds: float = 10
    prepare: Callable[[Site], None] = field(default=lambda _: None, repr=False)
    """Done before there is traffic."""
    restore: Callable[[Site], None] = field(default=lambda _: None, repr=False)
    """Done after there was traffic."""
    buys_again: bool = False
    """Edits may be bought again: calls in flight are lost with a host, or results can't be read."""


def _disturbed(disturbance: Disturbance) -> Callable[[Site], AbstractContextManager[None]]:
    @contextmanager
    def disturb(site: Site) -> Iterator[None]:
        host = site.hosts[DISTURBED]
        host.disturb(disturbance)
        yield
        host.disturb(Disturbance())

    return disturb


def _frozen(*names: str) -> Callable[[Site], AbstractContextManager[None]]:
    @contextmanager
    def freeze(site: Site) -> Iterator[None]:
        for name in names:
            site.hosts[name].signal(signal.SIGSTOP)
        yield
        for name in names:
            site.hosts[name].signal(signal.SIGCONT)

    return freeze


@contextmanager
def _killed(site: Site) -> Iterator[None]:
    site.hosts[DISTURBED].kill()
    yield
    site.start_gateway(DISTURBED)


def _with_a_clock(site: Site) -> None:
    site.clock.write_text("+0")
    site.restart_gateway(DISTURBED, with_clock=True)
    until(lambda: site.is_ready(DISTURBED), 60)


@contextmanager
def _clock_off(site: Site) -> Iterator[None]:
    site.clock.write_text("+600")
    yield
    site.clock.write_text("+0")


@contextmanager
def _database_restarted(site: Site) -> Iterator[None]:
    server = site.servers[site.primary]
    server.stop()
    yield
    server.start()


@contextmanager
def _database_paused(site: Site) -> Iterator[None]:
    server = site.servers[site.primary]
    server.signal(signal.SIGSTOP)
    yield
    server.signal(signal.SIGCONT)


@contextmanager
def _failed_over(site: Site) -> Iterator[None]:
    site.servers[site.primary].kill()
    time.sleep(2)  # until that is noticed
    site.promote()
    yield


@contextmanager
def _failed_over_from_a_lost_host(site: Site) -> Iterator[None]:
    site.hosts[site.primary].disturb(CUT)
    time.sleep(2)
    site.promote()
    yield


def _with_a_new_standby(site: Site) -> None:
    site.servers[site.standby].kill()
    site.hosts[site.standby].disturb(Disturbance())
    site.rebuild_standby()


@contextmanager
def _poolers_restarted(site: Site) -> Iterator[None]:
    site.restart_poolers()
    yield


def _bucket(order: str) -> Callable[[Site], AbstractContextManager[None]]:
    @contextmanager
    def fail(site: Site) -> Iterator[None]:
        site.order_bucket(order)
        yield
        site.order_bucket("")

    return fail


@contextmanager
def _disk_full(site: Site) -> Iterator[None]:
    filler = site.disk(DISTURBED) / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
    yield
    filler.unlink()


FAULTS = (
    Fault("cut", "a gateway's host is cut off, both ways", _disturbed(CUT), 20, buys_again=True),
    Fault("deaf", "a gateway's host receives nothing", _disturbed(DEAF), 20,
          buys_again=True),
    Fault("mute", "nothing of what a gateway's host sends arrives",
          _disturbed(MUTE), 20, buys_again=True),
    Fault("loss", "a gateway's host loses 30 % of its packets", _disturbed(LOSS), 15,
          buys_again=True),
    Fault("delay", "a gateway's host is 200 ms away, each way", _disturbed(DELAY), 15,
          buys_again=True),
    Fault("killed", "a gateway's host is killed, and comes back", _killed, 15, buys_again=True),
    Fault("paused", "a gateway's host is paused for 30 s", _frozen(DISTURBED), 30, buys_again=True),
    Fault("clock", "a gateway's clock goes 10 minutes ahead, and back", _clock_off, 15,
          prepare=_with_a_clock,
          restore=lambda site: site.restart_gateway(DISTURBED)),
    Fault("restart", "PostgreSQL is stopped for 5 s", _database_restarted, 5),
    Fault("freeze", "PostgreSQL is paused for 20 s", _database_paused, 20),
    Fault("failover", "PostgreSQL is killed, its standby promoted", _failed_over, 0,
          restore=_with_a_new_standby),
    Fault("lost-database", "PostgreSQL's host is cut off, the standby promoted",
          _failed_over_from_a_lost_host, 0, restore=_with_a_new_standby),
    Fault("pooler", "both PgBouncers are restarted", _poolers_restarted, 0),
    Fault("bucket-gone", "the bucket is gone", _bucket("gone"), buys_again=True),
    Fault("bucket-slow", "the bucket takes 5 s for an answer", _bucket("slow"), buys_again=True),
    Fault("bucket-full", "the bucket answers 503", _bucket("full"), buys_again=True),
    Fault("names", "DNS is gone", _frozen("dns"), 20, buys_again=True),
    Fault("disk", "a gateway's disk is full", _disk_full, buys_again=True),
)  # fmt: skip
