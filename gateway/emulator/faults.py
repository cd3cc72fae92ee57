"""What can be made to go wrong, and how it is ordered.

A knob is set by default (`EmulatorSettings.knobs`), for every call or for the next few
(`POST /emulator/faults`), or by a header of the call itself (`X-Emulator-Retry-After: 2`).
The nearer to the call, the stronger.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from gateway.emulator.refusals import bad_field

HEADER_PREFIX = "x-emulator-"
MISSING = "missing"


def _knob(default: Any, said: str) -> Any:
    """A knob and what `gateway emulate --help` says of it."""
    return field(default=default, metadata={"help": said})


@dataclass(frozen=True, slots=True)
class Knobs:
    """How one call is served. The defaults are the documented behaviour.

    Before the work: `latency_seconds`, `reset_before_read` (nothing is read, nothing billed),
    `status` with `retry_after` (an error answer; billed only if `bill` is true). After the
    work, which is billed unless `bill` is false: `hang`, `reset_after_read`, `garbage`,
    `no_picture`, `cost`, `slow_body`, `truncate`, `reset_mid_answer`, `truncate_stream`,
    `stream_error` (not billed unless `bill` is true).
    """

    latency_seconds: float = _knob(
        0.0, "Waited besides the work; a stream spreads it over its events."
    )
    status: int | None = _knob(None, "Answer with this error instead of working.")
    retry_after: float | None = _knob(None, "What the error's Retry-After says.")
    bill: bool | None = _knob(None, "Overrides whether the call is billed.")
    reset_before_read: bool = _knob(
        False, "A TCP reset before anything is read; nothing is billed."
    )
    reset_after_read: bool = _knob(False, "A TCP reset instead of the answer.")
    reset_mid_answer: bool = _knob(False, "Half of the answer, then a TCP reset.")
    truncate: bool = _knob(
        False, "Half of the answer, then an orderly close, short of its content-length."
    )
    garbage: bool = _knob(False, "200 with a body that is not JSON.")
    no_picture: bool = _knob(False, "200 without `data`.")
    hang: bool = _knob(False, "No answer until the client leaves or POST /emulator/release.")
    cost: str | None = _knob(None, 'What stands at usage.cost.total_cost, or "missing".')
    slow_body: float = _knob(0.0, "Over which the answer, or a stream's last event, trickles.")
    truncate_stream: bool = _knob(
        False, "A stream that ends properly, but without its completed event."
    )
    stream_error: bool = _knob(False, "A stream that ends in an error event.")
    models_status: int | None = _knob(None, "Answer /v1/models with this error.")

    def turned(self, settings: Mapping[str, object]) -> Knobs:
        """These knobs with some turned; raises Refused (400) on a name or value unknown."""
        changes: dict[str, Any] = {}
        for name, value in settings.items():
            if name not in _KINDS:
                raise bad_field(name, f"There is no knob '{name}'; there are: {', '.join(_KINDS)}.")
            try:
                changes[name] = _READERS[_KINDS[name]](value)
            except ValueError as wrong:
                raise bad_field(name, f"The knob {name} {wrong}.") from wrong
        return replace(self, **changes)


_KINDS: Mapping[str, str] = {knob.name: str(knob.type) for knob in fields(Knobs)}


class Faults:
    """Which knobs the next call meets."""

    def __init__(self, defaults: Knobs) -> None:
        self._defaults = defaults
        self._always: Mapping[str, object] = {}
        self._next: deque[Mapping[str, object]] = deque()

    @property
    def queued(self) -> int:
        """How many calls are still to meet a fault of their own."""
        return len(self._next)

    def plan(
        self,
        next_calls: Sequence[Mapping[str, object]] = (),
        always: Mapping[str, object] | None = None,
    ) -> None:
        """Queue knobs for the coming calls, one mapping each; replace those for all calls.

        Raises Refused (400), nothing changed, on an unknown knob or value.
        """
        for settings in (*next_calls, always or {}):
            self._defaults.turned(settings)
        self._next.extend(next_calls)
        if always is not None:
            self._always = always

    def clear(self) -> None:
        """Back to the defaults."""
        self._always = {}
        self._next.clear()

    def for_call(self, headers: Mapping[str, str]) -> Knobs:
        """The knobs of an edit or a generation; uses up one place of the queue."""
        coming = self._next.popleft() if self._next else {}
        return self._defaults.turned(self._always).turned(coming).turned(_in(headers))

    def for_models(self, headers: Mapping[str, str]) -> Knobs:
        """The knobs of a look at the catalogue; leaves the queue alone."""
        return self._defaults.turned(self._always).turned(_in(headers))


def _in(headers: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, text in headers.items():
        if name.startswith(HEADER_PREFIX):
            found[name.removeprefix(HEADER_PREFIX).replace("-", "_")] = knob_value(text)
    return found


def knob_value(text: str) -> object:
    """A knob's value from a header or a flag: JSON, or else the text itself."""
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        return text


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number of seconds")
    if not 0 <= value <= 86_400:
        raise ValueError("must be 0 to 86400 seconds")
    return float(value)


def _error_status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError("must be an error status, 400 to 599")
    return value


def _json_text(value: object) -> str:
    """The value's own JSON; numbers stay as they were written, NaN stays NaN."""
    if value == MISSING:
        return MISSING
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=float)


def _or_none(reader: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else reader(value)


_READERS: Mapping[str, Callable[[object], Any]] = {
    "bool": _switch,
    "bool | None": _or_none(_switch),
    "float": _seconds,
    "float | None": _or_none(_seconds),
    "int | None": _or_none(_error_status),
    "str | None": _json_text,
}
"""How a knob's value is read, by the knob's annotation."""
