"""Secrets, prompts and pictures are in no log, metric, error text or book, whatever happens."""

from __future__ import annotations

import ast
import base64
import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.emulator import EmulatorServer
from tests.support.bodies import FormPart, data_url, document, file, form, form_type, text, usual
from tests.support.serving import GatewayProcess, make_key, settings_for, tables_of
from tests.support.upstreams import png

PROMPT = "prompt-9c1f4e make it grey"
PICTURE = png(8, 8) + b"picture-5d80b2-" * 3
WORD_OF_PROMPT = "9c1f4e"
WORD_OF_PICTURE = b"5d80b2"
KEY = "sk-secret-of-a-key-71ae09"
GUESS = "sk-a-right-key-of-elsewhere-88d3c1"
ADMIN = "admin-secret-2b6e17"
METRICS = "metrics-secret-e0c4f5"
WEBHOOK = "webhook-secret-4470ad"


@dataclass
class Walk:
    """A gateway that tells all it has to tell, and everything that it has answered."""

    gateway: GatewayProcess
    emulator: EmulatorServer
    folder: Path
    errors: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def keep(self, answer: httpx.Response) -> None:
        """An upstream's own words are for who asked; everything else is looked at."""
        self.statuses.append(answer.status_code)
        self.errors.append(repr(answer.headers.raw))
        by_upstream = answer.headers.get("x-gateway-error-source") == "upstream"
        if answer.is_error and not by_upstream:
            self.errors.append(answer.text)

    def post(
        self,
        body: bytes,
        content_type: str = form_type(),
        *,
        key: str = KEY,
        path: str = "/v1/images/edits",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        with self.gateway.client(key) as client, contextlib.suppress(httpx.RemoteProtocolError):
            given = {"content-type": content_type, **(headers or {})}
            self.keep(client.post(path, content=body, headers=given))

    def edit(self, **fields: str) -> None:
        self.post(form(usual(PICTURE, **{"prompt": PROMPT, **fields})))

    def get(self, path: str, key: str) -> None:
        with self.gateway.client(key) as client:
            self.keep(client.get(path))

    def raw(self, sent: bytes) -> None:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65_536):
                received += piece
        self.errors.append(received.decode("latin-1"))


@pytest.fixture
def walk(tmp_path: Path, emulator: EmulatorServer) -> Iterator[Walk]:
    more: dict[str, dict[str, Any]] = {
        "log": {"format": "json", "level": "debug"},
        "admin": {"token": ADMIN},
        "metrics": {"token": METRICS},
        "warnings": {"secret": WEBHOOK, "webhook_url": "http://127.0.0.1:9/hook"},
        "upstream": {"timeout_seconds": 1.0, "max_attempts": 1, "implausible_cost_usd": "1"},
        "limits": {"max_image_bytes": "1MB", "max_body_bytes": "2MB"},
        "server": {"upload_stall_seconds": 0.5},
    }
    make_key(
        settings_for(tmp_path, emulator, more),
        secret=KEY,
        team_terms={"budget_usd": "0.2"},
    )
    tables = tables_of(tmp_path, emulator, more)
    with GatewayProcess(tables, tmp_path / "process") as gateway:
        yield Walk(gateway, emulator, tmp_path)


def answers(walk: Walk) -> None:
    for fields in ({}, {}, {"stream": "true", "partial_images": "1"}, {"quality": "high"}):
        walk.edit(**fields)
    images = [{"image_url": data_url(PICTURE)}]
    walk.post(
        document(model="deepshi-image-1", prompt=f"{PROMPT} 2", images=images), "application/json"
    )
    walk.post(
        document(model="deepshi-image-1", prompt=PROMPT), "application/json",
        path="/v1/images/generations",
    )  # fmt: skip


def faults(walk: Walk) -> None:
    knobs: tuple[dict[str, object], ...] = (
        {"status": 500}, {"status": 400}, {"status": 401}, {"status": 429, "retry_after": 0},
        {"hang": True}, {"garbage": True}, {"no_picture": True}, {"truncate": True},
        {"reset_before_read": True}, {"reset_after_read": True}, {"reset_mid_answer": True},
        {"cost": '"-1"'}, {"cost": "99"}, {"stream_error": True}, {"truncate_stream": True},
    )  # fmt: skip
    for number, knob in enumerate(knobs):
        walk.emulator.order(knob)
        streams = {"stream": "true"} if "stream" in next(iter(knob)) else {}
        walk.edit(prompt=f"{PROMPT} {number}", **streams)
        walk.emulator.release()


def broken_bodies(walk: Walk) -> None:
    whole = form(usual(PICTURE, prompt=PROMPT))
    for body in (
        whole[:-10],
        whole.replace(b"\r\n", b"\n"),
        form([*usual(PICTURE, prompt=PROMPT), text("prompt", PROMPT)]),
        form([*usual(PICTURE), FormPart("style", PROMPT.encode() + b"\xff")]),
        form([*usual(PICTURE), text("n", PROMPT)]),
        form([*usual(PICTURE), text("image_url", f"https://{PROMPT}")]),
        form([*usual(PICTURE), text("stream", PROMPT)]),
        form(usual(PROMPT.encode() * 20)),
        form(usual(PICTURE + bytes(1_100_000), prompt=PROMPT)),
        form([*usual(*[PICTURE] * 6, prompt=PROMPT)]),
        form([*usual(PICTURE), file("mask", PROMPT.encode(), file_name=PROMPT)]),
    ):
        walk.post(body)
    for json_body in (
        b'{"prompt": "' + PROMPT.encode(),
        document(model="deepshi-image-1", prompt=PROMPT, images=[PROMPT]),
        document(model="deepshi-image-1", prompt=PROMPT, images=[data_url(PROMPT.encode())]),
        document(prompt=PROMPT, images=[data_url(PICTURE)], n=PROMPT),
    ):
        walk.post(json_body, "application/json")
    walk.post(PROMPT.encode(), "text/plain")


def strangers(walk: Walk) -> None:
    for key in (GUESS, KEY + "x", ""):
        walk.post(form(usual(PICTURE, prompt=PROMPT)), key=key)
    for path in ("/v1/models", "/v1/key", "/metrics", "/admin/v1/teams", "/admin/v1/nothing"):
        for key in (GUESS, KEY, ADMIN, METRICS):
            walk.get(path, key)


def wire(walk: Walk) -> None:
    head = (
        f"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {form_type()}\r\n"
    ).encode()
    body = form(usual(PICTURE, prompt=PROMPT))
    walk.raw(head + b"Content-Length: 100000\r\n\r\n" + body)  # and left
    walk.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)  # which is no chunk
    walk.raw(head + b"Content-Length: 9\r\n\r\n" + body)  # the rest is no request
    walk.raw(head + b"Bad Header " + PROMPT.encode() + b"\r\n\r\n" + body)
    walk.raw(head.replace(b"HTTP/1.1", b"HTTP/9.9") + b"\r\n" + body)


def money_and_store(walk: Walk) -> None:
    """No money is left after the faults; then the folder of results is no more."""
    for number in range(20):
        walk.edit(prompt=f"{PROMPT} spent {number}")
    shutil.rmtree(walk.folder / "cache")
    (walk.folder / "cache").write_text("this is no folder")
    walk.edit()


def is_said(walk: Walk, where: str) -> list[str]:
    """Which of what must not be said is said there."""
    known = {
        "prompt": WORD_OF_PROMPT,
        "picture": WORD_OF_PICTURE.decode(),
        "picture in base64": base64.b64encode(PICTURE).decode()[30:60],
        "key": KEY[:12],
        "guess": GUESS[:12],
        "admin token": ADMIN,
        "metrics token": METRICS,
        "webhook secret": WEBHOOK,
        "upstream key": walk.emulator.api_key,
    }
    return [name for name, secret in known.items() if secret in where]


WALKS: tuple[Callable[[Walk], None], ...] = (
    answers, faults, broken_bodies, strangers, wire, money_and_store,
)  # fmt: skip


def test_nothing_that_is_secret_is_said_on_any_path(walk: Walk) -> None:
    for step in WALKS:
        step(walk)
    with walk.gateway.client(METRICS) as client:
        metrics = client.get("/metrics").text
    with walk.gateway.client(ADMIN) as client:
        audit = client.get("/admin/v1/audit").text
    assert walk.gateway.stop() == 0
    log = walk.gateway.log.read_text()

    assert {200, 400, 401, 403, 404, 413, 415, 429, 502, 504} <= set(walk.statuses)
    assert log.count('"event": "request"') > 50
    for place, words in {
        "log": log,
        "metrics": metrics,
        "audit": audit,
        "errors": "\n".join(walk.errors),
    }.items():
        assert is_said(walk, words) == [], place


def test_no_secret_and_no_picture_that_was_sent_is_kept_on_disk(walk: Walk) -> None:
    answers(walk)
    strangers(walk)
    assert walk.gateway.stop() == 0

    kept = [path for path in walk.folder.rglob("*") if path.is_file()]
    assert any(path.name == "gateway.db" for path in kept)
    assert any("cache" in path.parts for path in kept)
    for path in kept:
        if path.name != "gateway.toml":  # which this test has written
            assert is_said(walk, path.read_bytes().decode("latin-1")) == [], path


SECRET_NAMES = {"token", "secret", "password", "api_key", "key_hash", "secret_hash", "root", "sent"}


def test_no_secret_is_compared_letter_by_letter() -> None:
    """How long `==` takes tells how much of a guess is right; a digest may be looked up."""
    found = []
    for path in Path("gateway").rglob("*.py"):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and any(
                isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops
            ):
                sides = [node.left, *node.comparators]
                if SECRET_NAMES & {_name(side) for side in sides}:
                    found.append(f"{path}:{node.lineno}")
    assert found == []


def _name(side: ast.expr) -> str:
    if isinstance(side, ast.Attribute):
        return side.attr
    return side.id if isinstance(side, ast.Name) else ""
