"""The settings of the sandbox: those of the gateway, in front of the emulator, with own stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from gateway.settings import ReportSettings, Settings, UpstreamSettings
from gateway.upstream.adapters import ADAPTERS

Section = TypeVar("Section", bound=BaseModel)
_CALL_SECONDS = 60.0
_AT_ONCE, _WAITING = 2, 100
_OPENAI_HOST, _DEFAULT_INTERFACE = "api.openai.com", "deepshi"


def sandbox_settings(settings: Settings, folder: Path, origin: str, api_key: str) -> Settings:
    """The sandbox's settings: the emulator is at `origin`, one path for each interface."""
    upstreams = {
        name: _emulated(each, f"{origin}/{_interface_of(each)}", api_key)
        for name, each in settings.every_upstream.items()
    }
    return settings.model_copy(
        update={
            "server": _but(settings.server, drain_seconds=5.0, spool_bytes=16 * 2**20),
            "upstreams": upstreams,
            "cache": _but(
                settings.cache,
                url=f"disk:{folder / 'results'}",
                max_bytes=settings.sandbox.cache_bytes,
                memory_bytes=min(settings.cache.memory_bytes, 4 * 2**20),
                failure_memory_seconds=1.0,  # the emulator's end is no failure of an edit
            ),
            "state": _but(settings.state, url=f"sqlite:{folder / 'state.db'}", usage_days=1),
            "tracing": _but(settings.tracing, endpoint=""),
            "warnings": _but(settings.warnings, percents=(), webhook_url=SecretStr("")),
            "reports": ReportSettings(),
        }
    )


def _interface_of(upstream: UpstreamSettings) -> str:
    """The emulator's interface that plays this upstream."""
    if upstream.api != "openai":
        return upstream.api
    is_openai = urlsplit(upstream.base_url).hostname == _OPENAI_HOST
    return "openai" if is_openai else _DEFAULT_INTERFACE


def _emulated(upstream: UpstreamSettings, base_url: str, api_key: str) -> UpstreamSettings:
    """The upstream as its API documents it, at the emulator: nothing of it leads elsewhere."""
    endpoint = ADAPTERS[upstream.api].endpoint
    defaults = UpstreamSettings.model_fields
    return _but(
        upstream,
        base_url=base_url,
        api_key=(SecretStr(api_key),),
        auth=endpoint.auth,
        query=dict(endpoint.query),
        edits_path=endpoint.edits_path,
        generations_path=endpoint.generations_path,
        headers={},
        proxy="",
        ca_bundle="",
        picture_hosts=(),
        cost_path=defaults["cost_path"].default,
        timeout_seconds=_CALL_SECONDS,
        read_timeout_seconds=_CALL_SECONDS,
        max_connections=_AT_ONCE,
        max_waiting=_WAITING,
        circuit_failures=0,
        first_call_alone=False,
        keep_alive=False,
    )


def _but(section: Section, **changes: Any) -> Section:
    return section.model_copy(update=changes)
