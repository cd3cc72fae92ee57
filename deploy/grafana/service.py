"""The dashboard *Service*: health, latency, and where requests queue."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.frame import assembled
from deploy.grafana.machinery import cache, ledger, notices, saturation, upstream
from deploy.grafana.panels import RED
from deploy.grafana.queries import JOB
from deploy.grafana.traffic import latency, now, objectives, traffic


def service() -> Dashboard:
    """The whole dashboard."""
    return assembled(
        uid="gateway-service",
        title="Image edits: service",
        description="Traffic, latency, upstream, saturation, cache and ledger of the image-edit "
        "gateway. Panels without a team or model cover all of them.",
        since="now-3h",
        rows={
            "Now": now(),
            "Traffic": traffic(),
            "Latency": latency(),
            "Upstream": upstream(),
            "Saturation": saturation(),
            "Cache and disks": cache(),
            "Ledger and usage": ledger(),
            "Notices": notices(),
            "Objectives": objectives(),
        },
        marks={
            "Circuit open": (
                f"max by (instance, upstream) (gateway_circuit_open{{{JOB}}}) > 0",
                RED,
            )
        },
    )
