"""How a test talks to `/admin/v1` of a real gateway: over its socket, with a token."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from gateway.emulator import EmulatorServer
from gateway.settings import Settings
from tests.support.serving import Overrides, Served, settings_for

ROOT_TOKEN = "root-0123456789abcdef"
_numbers = itertools.count(1)


def admin_settings(
    folder: Path, emulator: EmulatorServer, more: Overrides | None = None
) -> Settings:
    """A gateway's settings with the admin API switched on."""
    return settings_for(folder, emulator, {"admin": {"token": ROOT_TOKEN}, **(more or {})})


def fresh(prefix: str) -> str:
    """A name that no test has used."""
    return f"{prefix}-{next(_numbers)}"


def in_force(check: Callable[[], bool], seconds: float = 20.0) -> None:
    """Ask again and again until it is so, which must be within this many seconds.

    A second is promised, by the interval of refreshes; a machine that is busy gets twenty.
    """
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not in force after {seconds} s"
        time.sleep(0.1)  # a key that is refused too often is told so, and not why it is refused


class Api:
    """`/admin/v1` as the holder of one token sees it."""

    def __init__(self, served: Served, token: str | None = ROOT_TOKEN) -> None:
        self._served, self._token = served, token

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Any answer, whatever its status."""
        with self._served.client(self._token) as client:
            return client.request(method, f"/admin/v1{path}", **more)

    def get(self, path: str, **query: str | int) -> Any:
        return self._good(self.ask("GET", path, params=query))

    def post(self, path: str, **document: object) -> Any:
        return self._good(self.ask("POST", path, json=document))

    def patch(self, path: str, **document: object) -> Any:
        return self._good(self.ask("PATCH", path, json=document))

    def delete(self, path: str, **query: str) -> Any:
        return self._good(self.ask("DELETE", path, params=query))

    def every(self, path: str, **query: str | int) -> list[Any]:
        """A whole listing, page by page."""
        items: list[Any] = []
        page = self.get(path, **query)
        while True:
            items += page["data"]
            if not page["has_more"]:
                return items
            page = self.get(path, **query, after=page["next"])

    def holder(self, role: str) -> Api:
        """The API as the holder of a new token with this role sees it."""
        return Api(self._served, self.post("/tokens", name=fresh("token"), role=role)["secret"])

    def new_team(self, **terms: object) -> str:
        name = fresh("team")
        self.post("/teams", name=name, **(terms or {"unlimited": True}))
        return name

    def new_key(self, team: str, **terms: object) -> Any:
        return self.post("/keys", team=team, name=fresh("key"), **terms)

    @staticmethod
    def _good(answer: httpx.Response) -> Any:
        assert answer.status_code in (200, 201), answer.text
        return answer.json()
