"""The dashboard *Service*: is the gateway well, how fast is it, and where do requests wait."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.frame import assembled
from deploy.grafana.machinery import books, cache, saturation, upstream
from deploy.grafana.panels import RED
from deploy.grafana.queries import JOB
from deploy.grafana.traffic import latency, now, traffic


def service() -> Dashboard:
    """The whole dashboard."""
    return assembled(
        uid="gateway-service",
        title="Image edits: service",
        description="Traffic, latency, the upstream, saturation, the cache and the books of the "
        "image-edit gateway. Panels that count by neither team nor model are about all of them.",
        since="now-3h",
        rows={
            "Now": now(),
            "Traffic": traffic(),
            "Latency": latency(),
            "Upstream": upstream(),
            "Saturation": saturation(),
            "Cache and disks": cache(),
            "Books": books(),
        },
        marks={"Circuit open": (f"max by (instance) (gateway_circuit_open{{{JOB}}}) > 0", RED)},
    )
