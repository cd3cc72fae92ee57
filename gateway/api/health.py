"""`/healthz` and `/readyz`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.queries.models.read_model import ReadModel


class HealthView(ReadModel):
    status: Literal["ok"] = "ok"


class ReadinessView(ReadModel):
    status: Literal["ready", "draining"]
    degraded: Annotated[
        list[str] | None,
        Field(
            description="The parts that do not work, although the gateway takes requests.",
            exclude_if=lambda value: value is None,
        ),
    ] = None
