"""What the gateway needs of tracing, and tracing that is off.

A span covers a stretch of work, as a child of the task's current span. Spans carry no prompt,
picture, secret or error text.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Value = str | int | float | bool
SpanAttributes = Mapping[str, Value | None]
"""Attributes by dotted name; None is left out."""


class Span(Protocol):
    """One stretch of work."""

    def set_attributes(self, attributes: SpanAttributes) -> None: ...

    def fail(self, reason: str) -> None:
        """Mark the span as failed; `reason` is an error code or a type."""
        ...

    def link(self) -> None:
        """Link this span and the task's current span to each other."""
        ...


class Spans(Protocol):
    """Starts spans. An exception that leaves a span marks it as failed."""

    def request(
        self, name: str, headers: Mapping[str, str], attributes: SpanAttributes
    ) -> AbstractContextManager[Span]:
        """An incoming request, as a child of the client's span if its headers name one."""
        ...

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Internal work."""
        ...

    def call(self, name: str, attributes: SpanAttributes) -> AbstractContextManager[Span]:
        """An outgoing call."""
        ...

    def flight(self, name: str) -> Span:
        """Start work that may outlive the current span; enter it with `under`."""
        ...

    def under(self, flight: Span) -> AbstractContextManager[object]:
        """Make the flight the task's current span; leaving it ends the flight's span."""
        ...

    def outgoing(self) -> Mapping[str, str]:
        """Headers that name the task's current span to a called server."""
        ...

    @property
    def trace_id(self) -> str:
        """The id of the task's trace if it is sampled; else empty."""
        ...

    def close(self) -> None:
        """Send the waiting spans. Blocks."""
        ...


class NoSpans:
    """Tracing that is off."""

    trace_id = ""

    def request(
        self, name: str, headers: Mapping[str, str], attributes: SpanAttributes
    ) -> AbstractContextManager[Span]:
        return nullcontext(NO_SPAN)

    def stage(self, name: str) -> AbstractContextManager[object]:
        return _NOTHING

    def call(self, name: str, attributes: SpanAttributes) -> AbstractContextManager[Span]:
        return nullcontext(NO_SPAN)

    def flight(self, name: str) -> Span:
        return NO_SPAN

    def under(self, flight: Span) -> AbstractContextManager[object]:
        return _NOTHING

    def outgoing(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        return


class _NoSpan:
    def set_attributes(self, attributes: SpanAttributes) -> None:
        return

    def fail(self, reason: str) -> None:
        return

    def link(self) -> None:
        return


NO_SPAN: Span = _NoSpan()
NO_SPANS: Spans = NoSpans()
_NOTHING = nullcontext()
