"""A gateway in which people and an upstream have written markup wherever they can write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from starlette.responses import JSONResponse

from gateway.emulator import EmulatorServer
from tests.api.admin.api_client import Api, in_force
from tests.console.page_reader import ReadForm, ReadPage, route_of
from tests.console.visiting import Visiting, console_settings, signed_in
from tests.support.serving import PHOTOGRAPH, Overrides, Running, make_key, serving
from tests.support.upstreams import Recording, recording_upstream

VAULT, OWN = "vault", "own"
VAULT_KEY, OWN_KEY = "sk-vault-0123456789abcdef", "sk-own-0123456789abcdef"
_MOST_OF_A_ROUTE = 3
_FILES = ("/console/files/", "/console/thumbnails/", "/console/static/", "/console/sso")


def mark(place: str) -> str:
    """What would run if it were not escaped in text, in an attribute, or in a script."""
    return f"\"'><img id={place} src=x onerror=alert(1)>"


PLACES = (
    "owner", "centre", "key", "tag", "allowed", "token", "team-reason", "user", "prompt", "model",
    "number", "ask", "grant", "correction", "confirmed",
)  # fmt: skip
"""Where something was planted that a page shows."""


@dataclass
class Planted:
    """The team `vault` has everything; the team `own` has a picture and a budget."""

    served: Running
    upstream: Recording
    root: Api
    lead: str = ""
    """The secret of the token of the lead of `own`."""
    vault_lead: str = ""
    key: str = ""
    """Ids of things of the team `vault`."""
    request: str = ""
    fingerprint: str = ""
    grant: str = ""
    batch: str = ""
    crawls: dict[str, dict[str, ReadPage]] = field(default_factory=dict)

    def fill(self, path: str) -> str:
        """A path of the table of pages with these ids in it."""
        id_text = self.request if "/requests/" in path else self.key
        names = {"{name}": VAULT, "{fingerprint}": self.fingerprint, "{id}": id_text}
        for name, text in names.items():
            path = path.replace(name, text)
        return path

    def pages(self, secret: str) -> dict[str, ReadPage]:
        """Every page that a visitor reaches by links, by its address; of each kind a few."""
        if secret not in self.crawls:
            with signed_in(self.served, secret) as visiting:
                self.crawls[secret] = crawled(visiting)
        return self.crawls[secret]

    def forms(self, secret: str) -> dict[str, ReadForm]:
        """A form of each route on those pages: the first, or the first to type into."""
        found: dict[str, ReadForm] = {}
        for page in self.pages(secret).values():
            for form in page.forms:
                if not (form.route in found and found[form.route].typed):
                    found[form.route] = form
        return found


def crawled(visiting: Visiting) -> dict[str, ReadPage]:
    pages: dict[str, ReadPage] = {}
    waiting, seen, numbers = ["/console", "/"], set[str](), dict[str, int]()
    while waiting:
        address = waiting.pop(0).partition("#")[0]
        route = route_of("GET", address)
        if (
            address in seen
            or address.startswith(_FILES)
            or numbers.get(route, 0) > _MOST_OF_A_ROUTE
        ):
            continue
        seen.add(address)
        answer = visiting.get(address)
        if answer.headers.get("content-type", "").startswith("text/html"):
            numbers[route] = numbers.get(route, 0) + 1
            pages[address] = page = ReadPage(address, answer.text)
            waiting += [link for link in page.links if link.startswith("/")]
    return pages


@contextmanager
def planting(folder: Path, emulator: EmulatorServer) -> Iterator[Planted]:
    with recording_upstream() as upstream:
        upstream.model = mark("model")
        upstream.request_id = mark("number").encode()
        settings = console_settings(folder, emulator, _settings(upstream))
        for team, secret in ((VAULT, VAULT_KEY), (OWN, OWN_KEY)):
            terms = {"budget_usd": "50", "owner": mark("owner"), "cost_centre": mark("centre")}
            named = mark("key") if team == VAULT else "web"
            own = terms if team == VAULT else {"budget_usd": "50"}
            make_key(settings, team=team, secret=secret, name=named, team_terms=own)
        with serving(settings) as running:
            planted = Planted(running, upstream, Api(running))
            _plant(planted)
            yield planted


def _settings(upstream: Recording) -> Overrides:
    return {
        "upstream": {"base_url": upstream.url},
        "console": {"gallery": True, "keep_inputs": "all"},
        "server": {"port": 0, "public_url": "http://pictures.test"},
        "accounts": {"end_users": "as-sent"},
    }


def _plant(planted: Planted) -> None:
    root = planted.root
    planted.key = root.get("/keys", team=VAULT)["data"][0]["id"]
    tags, models = {"site": mark("tag")}, [mark("allowed"), mark("model")]
    root.patch(f"/keys/{planted.key}", tags=tags, models=models, reason=mark("team-reason"))
    planted.lead = root.post("/tokens", name="lead of own", role=f"team:{OWN}")["secret"]
    named = mark("token")
    planted.vault_lead = root.post("/tokens", name=named, role=f"team:{VAULT}")["secret"]
    with signed_in(planted.served, planted.vault_lead):
        pass
    root.post("/prices/confirm", model=mark("confirmed"), price_usd="0.02")
    for prompt, key in ((mark("prompt"), VAULT_KEY), ("mine", OWN_KEY)):
        answer = bought(planted, prompt, key)
        assert answer.status_code == 200, answer.text
    _plant_money(planted)
    in_force(lambda: len(root.get("/requests", team=VAULT)["data"]) == 4)
    found = root.get("/requests", team=VAULT, outcome="miss")["data"][0]
    planted.request = found["id"]
    planted.fingerprint = root.get(f"/requests/{planted.request}")["fingerprint"]


def _plant_money(planted: Planted) -> None:
    """What was asked for and granted, an estimate, and one that was corrected."""
    root, upstream = planted.root, planted.upstream
    grant = root.post("/budgets/grants", budget=VAULT, usd="1", reason=mark("grant"))
    planted.grant = grant["id"]
    root.post("/budgets/requests", budget=VAULT, usd="2", reason=mark("ask"))
    upstream.status = 500
    for prompt in ("broken", "broken too"):
        bought(planted, prompt, VAULT_KEY)
    upstream.status = 200
    first = root.get("/ledger", team=VAULT, estimated="true")["data"][0]["request_id"]
    root.post("/ledger/corrections", request_id=first, cost_usd="0.01", reason=mark("correction"))
    planted.batch = root.get("/ledger/batches")["data"][0]["id"]
    upstream.refusal = JSONResponse({"error": {"message": mark("refusal"), "code": "no"}}, 400)
    bought(planted, "refused", VAULT_KEY)
    upstream.refusal = None


def bought(planted: Planted, prompt: str, key: str) -> httpx.Response:
    """An edit whose file, fields and user are marked."""
    with planted.served.client(key) as client:
        return client.post(
            "/v1/images/edits",
            data={"model": planted.upstream.model, "prompt": prompt},
            files=[("image[]", (mark("file"), PHOTOGRAPH))],
            headers={"x-gateway-user": mark("user") if key == VAULT_KEY else "me"},
        )
