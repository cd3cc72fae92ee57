"""What the gateway needs of tracing, and tracing that is off.

A span covers a stretch of work, as a child of the task's current span. Spans carry no prompt,
picture, secret or error text.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

Value = str | int | float | bool
SpanAttributes = Mapping[str, Value | None]
"""Attributes by dotted name; None is left out."""


class Span:
    """One stretch of work; this one is not traced."""

    def set_attributes(self, attributes: SpanAttributes) -> None:
        return

    def fail(self, reason: str) -> None:
        """Mark the span as failed; `reason` is an error code or a type."""

    def link(self) -> None:
        """Link this span and the task's current span to each other."""


class Spans:
    """Starts spans. An exception that leaves a span marks it as failed. Here, tracing is off."""

    def request(
        self, name: str, headers: Mapping[str, str], attributes: SpanAttributes
    ) -> AbstractContextManager[Span]:
        """An incoming request, as a child of the client's span if its headers name one."""
        return nullcontext(NO_SPAN)

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Internal work."""
        return _NOTHING

    def call(self, name: str, attributes: SpanAttributes) -> AbstractContextManager[Span]:
        """An outgoing call."""
        return nullcontext(NO_SPAN)

    def flight(self, name: str) -> Span:
        """Start work that may outlive the current span; enter it with `under`."""
        return NO_SPAN

    def under(self, flight: Span) -> AbstractContextManager[object]:
        """Make the flight the task's current span; leaving it ends the flight's span."""
        return _NOTHING

    def outgoing(self) -> Mapping[str, str]:
        """Headers that name the task's current span to a called server."""
        return {}

    @property
    def trace_id(self) -> str:
        """The id of the task's trace if it is sampled; else empty."""
        return ""

    def close(self) -> None:
        """Send the waiting spans. Blocks."""


NO_SPAN = Span()
NO_SPANS = Spans()
_NOTHING = nullcontext()
