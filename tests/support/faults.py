"""What can go wrong upstream, as a table: what is turned at the emulator, and what comes of it.

A row is observed over a real gateway in front of a real emulator (`observe`); `docs/faults.md`
is made of what was observed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from gateway.database.database import Transaction
from gateway.emulator import EmulatorServer
from gateway.ledger.tables import reports
from gateway.ledger.tables.ledger_rows import LedgerRow
from gateway.model.money import usd
from gateway.settings import Settings
from tests.support.inquiring import SharedGauges, told_once
from tests.support.serving import Overrides, Running, in_state, make_key, serving, settings_for
from tests.support.streams import Streamed, stream
from tests.support.waiting import until

IMPATIENT: Overrides = {"upstream": {"timeout_seconds": 2}}
Knobs = Mapping[str, object]


@dataclass(frozen=True)
class Seen:
    """What came of a fault, in words that are made of what was observed.

    `client`: status, `X-Gateway-Cache` or error code, and the advice on trying again; of a stream
    its events. `costs`: what `GET /v1/requests/{id}` says was charged, and what the upstream's
    bill says. `ledger`: the rows of the request. `again`: the same edit once more. `stored` is
    what `only-if-cached` finds.
    """

    client: str
    costs: str
    billed: str
    ledger: str
    stored: bool
    again: str
    calls: int = 1
    """How many of ours reached the upstream."""


@dataclass(frozen=True)
class Fault:
    """One row: `what` goes wrong in words, and the knobs that the calls meet, one after another."""

    what: str
    knobs: Sequence[Knobs]
    seen: Seen
    stream: bool = False
    settings: Overrides = field(default_factory=dict)
    alone: bool = False
    """It has a gateway of its own."""
    always: bool = False
    """The knobs are turned before the gateway starts, and stay."""

    @property
    def turned(self) -> set[str]:
        return {name for knobs in self.knobs for name in knobs}


def _bought(
    client: str = "200 MISS", costs: str = "$0.01", billed: str = "$0.01", **more: Any
) -> Seen:
    ledger = f"{costs}, status 200"
    return Seen(client, costs, billed, ledger, stored=True, **{"again": "200 HIT", **more})


def _ambiguous(
    client: str = "502 upstream_failed, no retry", billed: str = "$0.01", status: str = "–"
) -> Seen:
    return _estimated(client, "502 upstream_failed, no retry", billed, status)


def _timed_out(client: str = "504 upstream_timeout, no retry") -> Seen:
    return _estimated(client, "504 upstream_timeout, no retry")


def _estimated(client: str, failure: str, billed: str = "$0.01", status: str = "–") -> Seen:
    return Seen(
        client, "$0.01 (estimated)", billed, f"$0.01 (estimated), status {status}", stored=False,
        again=f"{failure}; not asked again",
    )  # fmt: skip


def _free(client: str, ledger: str, again: str = "200 MISS", calls: int = 1) -> Seen:
    return Seen(client, "$0", "$0", ledger, stored=False, again=again, calls=calls)


CUT = "events: partial, error upstream_failed; then cut"

FAULTS: tuple[Fault, ...] = (
    # --- slow -------------------------------------------------------------------------
    Fault("the upstream is slow", [{"latency_seconds": 1.2}], _bought()),
    Fault("its answer trickles", [{"slow_body": 1.0}], _bought()),
    Fault(
        "its answer trickles for longer than is waited",
        [{"slow_body": 4}],
        _timed_out(),
        settings=IMPATIENT,
    ),
    Fault(
        "it never answers",
        [{"hang": True}],
        _timed_out(),
        settings=IMPATIENT,
    ),
    # --- refusals ---------------------------------------------------------------------
    Fault(
        "it refuses the edit (400)",
        [{"status": 400}],
        _free(
            "400 emulated_failure", "$0, status 400", "400 emulated_failure; not asked again"
        ),
    ),
    Fault(
        "it refuses the edit (404)",
        [{"status": 404}],
        _free("404 emulated_failure", "$0, status 404"),
    ),
    Fault(
        "it answers 409",
        [{"status": 409}],
        _free("409 emulated_failure, no retry", "$0, status 409"),
    ),
    Fault(
        "it refuses our account (401, the only key)",
        [{"status": 401}],
        _free("502 upstream_account, no retry", "$0, status 401"),
    ),
    Fault(
        "our credit is used up (402)",
        [{"status": 402}],
        _free("502 upstream_account, no retry", "$0, status 402"),
    ),
    Fault(
        "it is busy once (429)",
        [{"status": 429, "retry_after": 0.2}],
        _bought(calls=2),
    ),
    Fault(
        "it is busy once (503)",
        [{"status": 503}],
        _bought(calls=2),
    ),
    Fault(
        "it stays busy (503)",
        [{"status": 503}, {"status": 503}, {"status": 503}],
        _free("503 upstream_busy, retry", "$0, status 503", calls=3),
    ),
    Fault(
        "it asks for a longer wait than ours (503, 45 s)",
        [{"status": 503, "retry_after": 45}],
        _free("503 upstream_busy, retry after 45 s", "$0, status 503"),
    ),
    Fault(
        "it fails (500)",
        [{"status": 500}],
        _ambiguous(billed="$0", status="500"),
    ),
    Fault(
        "it fails (500) and bills the call",
        [{"status": 500, "bill": True}],
        _ambiguous(status="500"),
    ),
    # --- broken connections and answers -------------------------------------------------
    Fault(
        "it resets the connection at once", [{"reset_before_read": True}], _ambiguous(billed="$0")
    ),
    Fault("it resets the connection instead of answering", [{"reset_after_read": True}],
          _ambiguous()),
    Fault("it resets the connection in the middle of its answer", [{"reset_mid_answer": True}],
          _ambiguous()),
    Fault("its answer is cut short", [{"truncate": True}], _ambiguous()),
    Fault("its answer is no JSON", [{"garbage": True}], _ambiguous(status="200")),
    Fault(
        "its answer has no picture, but a cost",
        [{"no_picture": True}],
        Seen(
            "502 upstream_failed, no retry", "$0.01", "$0.01", "$0.01, status 200", stored=False,
            again="502 upstream_failed, no retry; not asked again",
        ),
    ),
    # --- costs --------------------------------------------------------------------------
    Fault(
        "it states no cost",
        [{"cost": "missing"}],
        _bought(costs="$0.01 (estimated)"),
    ),
    Fault(
        "it states a cost below nothing",
        [{"cost": -1}],
        _bought(costs="$0.01 (estimated)"),
    ),
    Fault(
        "it states a cost that is no number",
        [{"cost": True}],
        _bought(costs="$0.01 (estimated)"),
    ),
    Fault(
        "it states less than the ceiling",
        [{"cost": Decimal("0.0031415")}],
        _bought(costs="$0.0031415", billed="$0.0031415"),
    ),
    Fault(
        "it states more than the ceiling",
        [{"cost": Decimal("0.05")}],
        _bought(costs="$0.05", billed="$0.05"),
        alone=True,  # from now on such a picture is reserved at more
    ),
    Fault(
        "it states a cost that it does not bill",
        [{"bill": False}],
        _bought(billed="$0"),
    ),
    # --- URLs ---------------------------------------------------------------------------
    Fault("it gives a URL in place of the picture", [{"as_url": True}], _bought()),
    Fault(
        "it gives a URL that can't be read",
        [{"as_url": True, "file_status": 404}],
        Seen("200 MISS, by URL", "$0.01", "$0.01", "$0.01, status 200", False, "200 MISS"),
    ),
    # --- streams ------------------------------------------------------------------------
    Fault(
        "a stream is slow",
        [{"latency_seconds": 1.0}],
        _bought("events: partial, completed", again="events: completed"),
        stream=True,
    ),
    Fault(
        "a stream ends without its picture", [{"truncate_stream": True}], _ambiguous(CUT),
        stream=True,
    ),
    Fault(
        "a stream ends in an error",
        [{"stream_error": True}],
        _ambiguous(CUT, billed="$0", status="200"),
        stream=True,
    ),
    Fault(
        "a stream ends in an error and is billed",
        [{"stream_error": True, "bill": True}],
        _ambiguous(CUT, status="200"),
        stream=True,
    ),
    Fault(
        "a stream's last event is cut short", [{"truncate": True}], _ambiguous(CUT), stream=True
    ),
    Fault("a stream is reset in its last event", [{"reset_mid_answer": True}], _ambiguous(CUT),
          stream=True),
    Fault(
        "a stream's last event is no JSON", [{"garbage": True}], _ambiguous(CUT, status="200"),
        stream=True,
    ),
    Fault(
        "a stream is refused before it begins",
        [{"status": 400}],
        _free(
            "400 emulated_failure", "$0, status 400", "400 emulated_failure; not asked again"
        ),
        stream=True,
    ),
    Fault(
        "a stream falls silent",
        [{"hang": True}],
        _timed_out("events: partial, error upstream_timeout; then cut"),
        stream=True,
        settings=IMPATIENT,
    ),
    # --- the catalogue ------------------------------------------------------------------
    Fault(
        "the list of models can't be had",
        [{"models_status": 500}],
        _bought(),
        alone=True,
        always=True,
    ),
)  # fmt: skip


# --- observing --------------------------------------------------------------------------


@contextmanager
def gateways_of_faults(folder: Path, emulator: EmulatorServer) -> Iterator[Gateways]:
    with ExitStack() as stack:
        yield Gateways(folder, emulator, stack)


class Gateways:
    """Gateways in front of one emulator, one for each kind of settings; they serve many rows."""

    def __init__(self, folder: Path, emulator: EmulatorServer, stack: ExitStack) -> None:
        self._folder, self._emulator, self._stack = folder, emulator, stack
        self._running: dict[str, Running] = {}

    def of(self, fault: Fault) -> Running:
        name = fault.what if fault.alone else json.dumps(fault.settings)
        if name not in self._running:
            self._emulator.order(always=dict(fault.knobs[0]) if fault.always else {})
            self._running[name] = self._start(fault.settings)
        return self._running[name]

    def _start(self, overrides: Overrides) -> Running:
        folder = self._folder / str(len(self._running))
        folder.mkdir()
        upstream = {"picture_hosts": [self._emulator.origin], **overrides.get("upstream", {})}
        settings = settings_for(folder, self._emulator, {**overrides, "upstream": upstream})
        make_key(settings)
        return self._stack.enter_context(serving(settings))


def observe(fault: Fault, gateway: Running, emulator: EmulatorServer) -> Seen:
    """Have an edit meet the fault; what came of it. Fails where any promise is broken."""
    prompt = f"make it grey: {fault.what}"
    before = emulator.stats()
    emulator.order(*([] if fault.always else fault.knobs))
    answer = _ask(gateway, prompt, stream=fault.stream)
    calls = emulator.stats()["calls"] - before["calls"]
    client = _client(answer)
    emulator.release()
    until(lambda: emulator.stats()["in_flight"] == 0)
    billed = emulator.stats()["billed_nanos"] - before["billed_nanos"]
    told = told_once(gateway, answer.headers["x-request-id"], lambda told: told["state"] == "ended")
    assert told["held_usd"] == "0"
    _check_headers(answer, told, emulator)
    stored = gateway.edit(prompt, headers={"cache-control": "only-if-cached"}).status_code == 200
    assert told["stored"] == stored
    again = _again(fault, gateway, prompt, emulator)
    assert gateway.edit(f"after: {fault.what}").status_code == 200
    return Seen(
        client=client,
        costs=_dollars(told["cost_usd"], estimated=told["estimated"]),
        billed=_dollars(usd(billed)),
        ledger=_ledger(gateway.settings, told["id"]),
        stored=stored,
        again=again,
        calls=calls,
    )


def _ask(gateway: Running, prompt: str, *, stream: bool) -> httpx.Response | Streamed:
    return _stream(gateway, prompt) if stream else gateway.edit(prompt)


def _stream(gateway: Running, prompt: str) -> Streamed:
    return stream(gateway, partial_images=1, prompt=prompt)


def _client(answer: httpx.Response | Streamed) -> str:
    if isinstance(answer, httpx.Response):
        return _plain(answer)
    if answer.status != 200:
        return _plain(httpx.Response(answer.status, headers=answer.headers, content=answer.raw))
    events = [str(kind) for kind in answer.kinds]
    if events[-1] == "error":
        return f"events: {', '.join(events)} {answer.error['code']}; then cut"
    assert answer.completed["b64_json"]
    return f"events: {', '.join(events)}"


def _plain(answer: httpx.Response) -> str:
    """The status, what it is, and whether an SDK will try again."""
    if answer.status_code == 200:
        (picture,) = answer.json()["data"]
        form = "" if picture.get("b64_json") else ", by URL"
        assert picture.get("b64_json") or picture["url"].startswith("http")
        return f"200 {answer.headers['x-gateway-cache']}{form}"
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    said = f"{answer.status_code} {error['code']}"
    advice = answer.headers.get("x-should-retry")
    assert ("retry-after" in answer.headers) == (advice == "true")
    if advice == "true":
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 60
        return f"{said}, retry" if wait <= 5 else f"{said}, retry after {wait} s"
    return f"{said}, no retry" if advice else said


def _check_headers(
    answer: httpx.Response | Streamed, told: SharedGauges, emulator: EmulatorServer
) -> None:
    """What each answer says besides: whose trouble it was, and the upstream's id of the call."""
    headers = answer.headers
    status = answer.status_code if isinstance(answer, httpx.Response) else answer.status
    assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-request-id"])
    if status != 200:
        assert headers["x-gateway-error-source"] == "upstream"
    if isinstance(answer, httpx.Response):
        assert headers["x-gateway-cost-usd"] == told["cost_usd"]
        assert ("x-gateway-cost-estimated" in headers) == told["estimated"]
        assert headers.get("x-gateway-upstream-request-id") == told["upstream_request_id"]
    billed = [row["request_id"] for row in emulator.statement()
              if row["client_request_id"] == told["id"]]  # fmt: skip
    if told["upstream_request_id"] and billed:
        assert told["upstream_request_id"] == billed[-1]


def _again(fault: Fault, gateway: Running, prompt: str, emulator: EmulatorServer) -> str:
    calls = emulator.stats()["calls"]
    said = _client(_ask(gateway, prompt, stream=fault.stream))
    asked = emulator.stats()["calls"] > calls
    if said in ("200 HIT", "events: completed"):
        assert not asked
        return said
    return said if asked else f"{said}; not asked again"


def _ledger(settings: Settings, request_id: str) -> str:
    async def rows(tx: Transaction) -> Sequence[LedgerRow]:
        return await reports.ledger_rows(tx, "2000-01-01", "2999-12-31")

    booked = [row for row in in_state(settings, rows) if row.request_id == request_id]
    return "; ".join(map(_booked, booked)) or "nothing"


def _booked(row: LedgerRow) -> str:
    status = "–" if row.status is None else row.status
    return f"{_dollars(usd(row.cost_nanos), estimated=bool(row.estimated))}, status {status}"


def _dollars(amount: str, *, estimated: bool = False) -> str:
    return f"${amount} (estimated)" if estimated else f"${amount}"


# --- the page ---------------------------------------------------------------------------

HEAD = """# Upstream faults

Made by `make docs`, which runs each row over a gateway in front of the emulator; `make test` runs
them again and compares. The ceiling of a picture is $0.01 here. No row leaves a reservation open.

- **The client sees**: the status and `X-Gateway-Cache`, or the error code. *Retry* and *no retry*
  are `x-should-retry`; without either, an SDK does not retry.
- **It costs**: the cost to the key, as `GET /v1/requests/{id}` and `x-gateway-cost-usd` state it.
  *Estimated*: the upstream stated no plausible cost; the ceiling is booked until it is corrected.
- **The bill**: what the emulated upstream charged. The ledger is never below it.
- **The same again**: the identical edit, sent right after. *Not asked again*: it is answered from
  memory, so that nothing is paid twice; `X-Gateway-Cache-Control: no-cache` buys again.

"""
COLUMNS = (
    *("fault", "emulator setting", "the client sees", "calls", "it costs"),
    *("the bill", "the ledger says", "stored", "the same again"),
)


def page(rows: Iterable[str]) -> str:
    """`docs/faults.md`."""
    lines = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
    return HEAD + lines + "".join(rows)


def row(fault: Fault, seen: Seen) -> str:
    """The page's row of what was observed."""
    cells = (
        fault.what,
        "; then ".join(_written(knobs) for knobs in fault.knobs),
        seen.client,
        seen.calls,
        seen.costs,
        seen.billed,
        seen.ledger,
        "yes" if seen.stored else "no",
        seen.again,
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |\n"


def _written(knobs: Knobs) -> str:
    return ", ".join(f"`{name}={str(value).lower()}`" for name, value in knobs.items())
