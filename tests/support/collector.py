"""A collector of traces: what has been exported to a receiver, span by span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.receiver import Receiver

KINDS = {1: "internal", 2: "server", 3: "client"}


@dataclass(frozen=True)
class Collected:
    """One span as it came over the wire; ids are hexadecimal."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    facts: dict[str, Any]
    links: Sequence[str]
    failed: bool
    started: int
    ended: int
    resource: dict[str, Any]


class Traces:
    """Every span that a receiver was sent."""

    def __init__(self, receiver: Receiver) -> None:
        assert {post.path for post in receiver.posts} <= {"/v1/traces"}
        self.spans = [span for post in receiver.posts for span in _spans(post.body)]

    def all(self, name: str) -> list[Collected]:
        return sorted((s for s in self.spans if s.name == name), key=lambda span: span.started)

    def one(self, name: str) -> Collected:
        [span] = self.all(name)
        return span

    def below(self, parent: Collected) -> list[str]:
        """The names of its children, in the order in which they began."""
        children = [span for span in self.spans if span.parent_id == parent.span_id]
        return [span.name for span in sorted(children, key=lambda span: span.started)]


def _spans(body: bytes) -> list[Collected]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Collected(
            name=span.name,
            kind=KINDS[span.kind],
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            facts=_facts(span.attributes),
            links=[link.span_id.hex() for link in span.links],
            failed=span.status.code == 2,
            started=span.start_time_unix_nano,
            ended=span.end_time_unix_nano,
            resource=_facts(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
