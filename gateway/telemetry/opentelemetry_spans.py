"""Spans sent to a collector by OTLP over HTTP, in batches. The one home of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.spans import Span, SpanAttributes, Spans, Value

TRACES_PATH = "/v1/traces"
EXPORT_SECONDS = 5.0
"""Time-out of an export: the longest delay of a stop if the collector is down."""
LONGEST_STATE = 512
"""Maximum length of a client's tracestate that is passed upstream, in whole members: W3C's minimum.
With 16,000 characters an upstream refuses the call, and so fails every follower of the flight."""


class OpenTelemetrySpans(Spans):
    """Tracing that is on.

    `endpoint` is a collector's URL, with or without the path for traces. `sample_ratio` applies to
    traces that start here; a client's own sampling decision is kept.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        headers: Mapping[str, str],
        service_name: str,
        version: str,
        sample_ratio: float,
    ) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource({"service.name": service_name, "service.version": version}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=_with_path(endpoint), headers=dict(headers), timeout=EXPORT_SECONDS
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("gateway", version)
        self._context = TraceContextTextMapPropagator()

    @contextmanager
    def request(
        self, name: str, headers: Mapping[str, str], attributes: SpanAttributes
    ) -> Iterator[Span]:
        span = self._tracer.start_span(
            name,
            context=self._context.extract(headers),
            kind=SpanKind.SERVER,
            attributes=_known(attributes),
        )
        with _in(span):
            yield _Span(span)

    @contextmanager
    def stage(self, name: str) -> Iterator[object]:
        with _in(self._tracer.start_span(name)):
            yield None

    @contextmanager
    def call(self, name: str, attributes: SpanAttributes) -> Iterator[Span]:
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=_known(attributes))
        with _in(span):
            yield _Span(span)

    def flight(self, name: str) -> Span:
        return _Span(self._tracer.start_span(name))

    @contextmanager
    def under(self, flight: Span) -> Iterator[object]:
        if not isinstance(flight, _Span):
            raise TypeError("the span belongs to other tracing")
        with _in(flight.span):
            yield None

    def outgoing(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        self._context.inject(headers)
        state = headers.pop("tracestate", "")
        if len(state) > LONGEST_STATE:
            state = state[: LONGEST_STATE + 1].rpartition(",")[0]
        return {**headers, "tracestate": state} if state else headers

    @property
    def trace_id(self) -> str:
        context = api.get_current_span().get_span_context()
        return api.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""

    def close(self) -> None:
        self._provider.shutdown()


class _Span(Span):
    def __init__(self, span: api.Span) -> None:
        self.span = span

    def set_attributes(self, attributes: SpanAttributes) -> None:
        self.span.set_attributes(_known(attributes))

    def fail(self, reason: str) -> None:
        _fail(self.span, reason)

    def link(self) -> None:
        here = api.get_current_span()
        here.add_link(self.span.get_span_context())
        self.span.add_link(here.get_span_context())


@contextmanager
def _in(span: api.Span) -> Iterator[None]:
    """Make the span current. A failure is recorded by code or type: its text may hold anything."""
    with api.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield
        except BaseException as error:
            _fail(span, str(getattr(error, "code", "") or type(error).__name__))
            raise


def _fail(span: api.Span, reason: str) -> None:
    span.set_attribute("error.type", reason)
    span.set_status(StatusCode.ERROR)


def _known(attributes: SpanAttributes) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}


def _with_path(endpoint: str) -> str:
    bare = urlsplit(endpoint).path in ("", "/")
    return endpoint.rstrip("/") + TRACES_PATH if bare else endpoint
