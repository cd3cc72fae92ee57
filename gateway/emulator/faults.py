"""The faults that the emulator can show, and how they are ordered.

A knob is set, in rising order of precedence, by `EmulatorSettings.knobs`, by `POST
/emulator/faults` for every call or for the next ones, or by a header of the call
(`X-Emulator-Retry-After: 2`).
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
    """A knob and its text in `gateway emulate --help`."""
    return field(default=default, metadata={"help": said})


@dataclass(frozen=True, slots=True)
class Knobs:
    """How one call is served; the defaults are the documented behaviour.

    `status` comes before the work and is billed only if `bill` is true. All faults after the work
    are billed unless `bill` is false, but `stream_error`, which is not unless `bill` is true.
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
    as_url: bool = _knob(False, "The picture's address instead of its bytes, whatever was asked.")
    file_status: int | None = _knob(None, "What such an address answers, an error.")
    hang: bool = _knob(False, "No answer until the client leaves or POST /emulator/release.")
    cost: str | None = _knob(None, 'What stands at usage.cost.total_cost, or "missing".')
    slow_body: float = _knob(0.0, "Over which the answer, or a stream's last event, trickles.")
    truncate_stream: bool = _knob(
        False, "A stream that ends properly, but without its completed event."
    )
    stream_error: bool = _knob(False, "A stream that ends in an error event.")
    models_status: int | None = _knob(None, "Answer /v1/models with this error.")

    def turned(self, settings: Mapping[str, object]) -> Knobs:
        """These knobs with some changed. Raises Refused (400) on an unknown name or value."""
        changes: dict[str, Any] = {}
        for name, value in settings.items():
            if name not in _KINDS:
                raise bad_field(name, f"There is no knob '{name}'; there are: {', '.join(_KINDS)}.")
            kind, _, or_none = _KINDS[name].partition(" | ")
            try:
                unset = value is None and or_none and kind != "str"
                changes[name] = None if unset else _READERS[kind](value)
            except ValueError as wrong:
                raise bad_field(name, f"The knob {name} {wrong}.") from wrong
        return replace(self, **changes)


_KINDS: Mapping[str, str] = {knob.name: str(knob.type) for knob in fields(Knobs)}


class Faults:
    """The knobs of the coming calls."""

    def __init__(self, defaults: Knobs) -> None:
        self._defaults = defaults
        self._always: Mapping[str, object] = {}
        self._next: deque[Mapping[str, object]] = deque()

    @property
    def queued(self) -> int:
        """The number of coming calls that have knobs of their own."""
        return len(self._next)

    def plan(
        self,
        next_calls: Sequence[Mapping[str, object]] = (),
        always: Mapping[str, object] | None = None,
    ) -> None:
        """Queue knobs for the coming calls, one mapping each; replace those for all calls.

        Raises Refused (400) and changes nothing on an unknown knob or value.
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
        """The knobs of an edit or a generation; takes the next of the queue."""
        coming = self._next.popleft() if self._next else {}
        return self._defaults.turned(self._always).turned(coming).turned(_in(headers))

    def for_models(self, headers: Mapping[str, str]) -> Knobs:
        """The knobs of a request for the models; does not use the queue."""
        return self._defaults.turned(self._always).turned(_in(headers))


def _in(headers: Mapping[str, str]) -> dict[str, object]:
    return {
        name.removeprefix(HEADER_PREFIX).replace("-", "_"): knob_value(text)
        for name, text in headers.items()
        if name.startswith(HEADER_PREFIX)
    }


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
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 86_400:  # type: ignore[operator]
        raise ValueError("must be a number of seconds, 0 to 86400")
    return float(value)  # type: ignore[arg-type]


def _error_status(value: object) -> int:
    if not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError("must be an error status, 400 to 599")
    return value


def _json_text(value: object) -> str:
    """The value's own JSON; numbers stay as they were written, NaN stays NaN."""
    if value == MISSING:
        return MISSING
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=float)


_READERS: Mapping[str, Callable[[object], Any]] = {
    "bool": _switch,
    "float": _seconds,
    "int": _error_status,
    "str": _json_text,
}
"""How a knob's value is read, by the knob's type."""
