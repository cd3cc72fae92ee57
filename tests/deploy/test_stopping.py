"""Whoever stops a gateway waits longer than the calls in flight get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gateway.model.units import seconds_of
from gateway.settings import load
from tests.deploy.manifests import OVERLAYS, container, pod
from tests.deploy.test_kubernetes import settings_of
from tests.deploy.test_systemd import values

AFTER_SECONDS = 15
"""What waits is written, and everything closed, within this time after the drain."""
DRAIN_SECONDS = load(Path("config/production.toml"), environment={}).server.drain_seconds


def compose() -> float:
    services = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]
    return _seconds(services["gateway"]["stop_grace_period"])


def systemd() -> float:
    (seconds,) = values("TimeoutStopSec")
    return _seconds(seconds)


def kubernetes() -> float:
    """What is left of a pod's grace once it has waited for the ingresses to hear of its end."""
    return min(
        float(pod(overlay)["terminationGracePeriodSeconds"])
        - float(container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"])
        for overlay in OVERLAYS
    )


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    assert isinstance(seconds, float)
    return seconds


@pytest.mark.parametrize("patience", [compose, systemd, kubernetes])
def test_a_stop_is_more_patient_than_the_drain(patience: Callable[[], float]) -> None:
    assert patience() >= DRAIN_SECONDS + AFTER_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_drain_is_the_same_in_every_configuration(overlay: str) -> None:
    assert settings_of(overlay).server.drain_seconds == DRAIN_SECONDS
    shipped = load(Path("config/gateway.toml"), environment={})
    assert shipped.server.drain_seconds == DRAIN_SECONDS
