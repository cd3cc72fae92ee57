"""What the gateway asks of tracing, and tracing that is off.

A span is a stretch of work, below the one that the task is in. No prompt, picture or secret is
given to one, nor the text of an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Value = str | int | float | bool
Facts = Mapping[str, Value | None]
"""By their dotted names; what is None is left out."""


class Span(Protocol):
    """One stretch of work."""

    def note(self, facts: Facts) -> None:
        """Add facts."""
        ...

    def failed(self, why: str) -> None:
        """It went wrong; `why` is one of few words."""
        ...

    def link(self) -> None:
        """Have this span and the one that the task is in name each other."""
        ...


class Spans(Protocol):
    """Begins spans. An exception that goes through one makes it a failed one."""

    def request(
        self, name: str, headers: Mapping[str, str], facts: Facts
    ) -> AbstractContextManager[Span]:
        """A request to us, below its client's span if its headers tell of one."""
        ...

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Some work of ours."""
        ...

    def call(self, name: str, facts: Facts) -> AbstractContextManager[Span]:
        """A call to somebody else."""
        ...

    def flight(self, name: str) -> Span:
        """Begin work that may outlive the span that it is begun in; `under` carries it out."""
        ...

    def under(self, flight: Span) -> AbstractContextManager[object]:
        """The task is in the flight from here on, and at the end the flight ends."""
        ...

    def outgoing(self) -> Mapping[str, str]:
        """The headers that tell whom we call of the span that the task is in."""
        ...

    @property
    def trace_id(self) -> str:
        """The id of the trace that the task is in, if that is kept; else empty."""
        ...

    def close(self) -> None:
        """Send what waits to be sent; may take a while."""
        ...


class NoSpans:
    """Tracing that is off."""

    trace_id = ""

    def request(
        self, name: str, headers: Mapping[str, str], facts: Facts
    ) -> AbstractContextManager[Span]:
        return nullcontext(NO_SPAN)

    def stage(self, name: str) -> AbstractContextManager[object]:
        return _NOTHING

    def call(self, name: str, facts: Facts) -> AbstractContextManager[Span]:
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
    def note(self, facts: Facts) -> None:
        return

    def failed(self, why: str) -> None:
        return

    def link(self) -> None:
        return


NO_SPAN: Span = _NoSpan()
NO_SPANS: Spans = NoSpans()
_NOTHING = nullcontext()
