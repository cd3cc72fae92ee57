"""A browser without a screen: pages and forms of the console over HTTP, with cookies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.api.admin.api_client import ROOT_TOKEN, admin_settings
from tests.support.serving import Overrides, Served

COOKIE = "console"
_CSRF = re.compile(r'name="csrf" value="(\w+)"')


class Visiting(httpx.Client):
    """Keeps cookies, follows no redirect, and sends forms with the token of the page before."""

    def __init__(self, served: Served, **headers: str) -> None:
        super().__init__(base_url=served.url, headers=headers, trust_env=False, timeout=30)
        self.csrf = ""

    def open(self, path: str) -> httpx.Response:
        answer = self.get(path)
        if found := _CSRF.search(answer.text):
            self.csrf = found[1]
        return answer

    def submit(self, path: str, **fields: str) -> httpx.Response:
        return self.post(path, data={"csrf": self.csrf, **fields})

    def sign_in(self, secret: str, **fields: str) -> httpx.Response:
        self.open("/console/sign-in")
        return self.submit("/console/sign-in", secret=secret, **fields)


@contextmanager
def signed_in(served: Served, secret: str = ROOT_TOKEN) -> Iterator[Visiting]:
    """A visitor who has signed in, and has a page whose forms can be sent."""
    with Visiting(served) as visiting:
        answer = visiting.sign_in(secret)
        assert answer.status_code == 303, answer.text
        visiting.open("/console/none")
        yield visiting


def may_sign_in(served: Served, secret: str) -> bool:
    """Is it valid by now? A new key is in force within a second."""
    with Visiting(served) as visiting:
        return visiting.sign_in(secret).status_code == 303


def console_settings(
    folder: Path, emulator: EmulatorServer, more: Overrides | None = None
) -> Settings:
    """A gateway's settings with the admin API on, and with it every role of the console."""
    return admin_settings(folder, emulator, more)
