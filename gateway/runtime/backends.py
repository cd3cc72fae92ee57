"""The engines that the settings name: the state, the result store, tracing, the upstream.

An engine whose optional dependency is missing raises SettingsError with the extra to install.
The modules of the engines are imported as they are opened, since a command needs few of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.database.clock import now_ms
from gateway.database.database import Database
from gateway.settings import Settings, SettingsError, StateSettings
from gateway.upstream.rules.routing import ModelRoute, Routing, Target

if TYPE_CHECKING:
    from gateway.alerts.mail_client import MailClient
    from gateway.alerts.webhook_client import WebhookClient
    from gateway.cache.kept_answers import KeptAnswers
    from gateway.cache.result_store import ResultStore
    from gateway.pricing.rules.ceilings import PriceCeilings
    from gateway.telemetry.spans import Spans
    from gateway.upstream.client import UpstreamClient

ANSWERS = "answers"
"""The folder of answers, in that of the results."""
VERSION = version("image-edit-gateway")


def open_database(state: StateSettings) -> Database:
    """The database of the state; it connects on first use. Raises SettingsError."""
    if state.sqlite_file:
        from gateway.database.sqlite import SqliteDatabase

        return SqliteDatabase(state.sqlite_file)
    try:
        from gateway.database.postgres import PostgresDatabase
    except ImportError:
        raise _extra_missing("[state] url: PostgreSQL needs", "postgres") from None
    try:
        return PostgresDatabase(state.url)
    except ValueError as error:
        raise SettingsError(f"[state] url: {error}") from None


def open_results(settings: Settings) -> ResultStore:
    """The result store of the cache URL. Raises SettingsError."""
    cache = settings.cache
    return _open_store(settings, "", cache.max_bytes, cache.memory_bytes)


def open_answers(
    settings: Settings,
    database: Database,
    owner_id: str = "",
    clock: Callable[[], int] = now_ms,
) -> KeptAnswers:
    """The answers to asynchronous requests: beside the results, none of them evicted.

    They may take as much room as the results. `owner_id` is the process that accepts them.
    Raises SettingsError.
    """
    from gateway.cache.kept_answers import KeptAnswers

    return KeptAnswers(
        database=database,
        store=_open_store(settings, ANSWERS, sys.maxsize, 0),
        max_bytes=settings.cache.max_bytes,
        owner_id=owner_id,
        now_ms=clock,
        silent_seconds=settings.state.lease_seconds,
    )


def _open_store(settings: Settings, folder: str, max_bytes: int, memory_bytes: int) -> ResultStore:
    from gateway.cache.disk import DiskStore

    cache = settings.cache
    try:
        local = DiskStore(
            cache.folder / folder,
            max_bytes=max_bytes,
            timeout_seconds=cache.timeout_seconds,
            memory_bytes=memory_bytes,
        )
        if not cache.bucket_url:
            return local
        from gateway.cache.object_store import BucketStore

        return BucketStore(cache.bucket_url, local, cache.timeout_seconds, folder=folder)
    except ImportError:
        raise _extra_missing("[cache] url: an object store needs", "objectstore") from None
    except ValueError as error:
        raise SettingsError(f"[cache] url: {error}") from None


def open_spans(settings: Settings) -> Spans:
    """Tracing; without an endpoint it does nothing. Raises SettingsError."""
    from gateway.telemetry.spans import NO_SPANS

    tracing = settings.tracing
    if not tracing.endpoint:
        return NO_SPANS
    try:
        from gateway.telemetry.opentelemetry_spans import OpenTelemetrySpans
    except ImportError:
        raise _extra_missing("[tracing] endpoint: traces need", "otel") from None
    headers = (header.get_secret_value().partition("=") for header in tracing.headers)
    return OpenTelemetrySpans(
        endpoint=tracing.endpoint,
        headers={name.strip(): value.strip() for name, _, value in headers},
        service_name=tracing.service_name,
        version=VERSION,
        sample_ratio=tracing.sample_ratio,
    )


def routing_of(settings: Settings) -> Routing:
    """Where models are bought by the settings."""
    routes, aliases = {}, {}
    for name, model in settings.models.items():
        targets = tuple(Target.parse(text, name) for text in model.targets)
        if targets:
            routes[name] = ModelRoute(targets, model.equivalent)
        aliases.update(dict.fromkeys(model.aliases, name))
    return Routing(routes, aliases)


def open_prices(settings: Settings) -> PriceCeilings:
    """What pictures may cost: by the settings, and by the price table. Raises SettingsError."""
    from gateway.pricing.price_file import BadPriceFile, load_prices
    from gateway.pricing.rules.ceilings import PriceCeilings
    from gateway.pricing.rules.target_prices import BadTargetPrice, price_targets

    ceilings = {name: model.price_ceiling_usd for name, model in settings.models.items()}
    targets = [
        (target.upstream, target.name, target.model)
        for route in routing_of(settings).routes.values()
        for target in route.targets
    ]
    given = {name: each.price for name, each in settings.prices.targets.items()}
    try:
        table = price_targets(load_prices(settings.prices.file), targets, given)
    except BadPriceFile as error:
        raise SettingsError(f"[prices] file: {error}") from None
    except BadTargetPrice as error:
        raise SettingsError(str(error)) from None
    return PriceCeilings(
        settings.upstream.price_ceiling_usd,
        {name: ceiling for name, ceiling in ceilings.items() if ceiling is not None},
        table,
        {name: each.price_ceiling_usd for name, each in settings.every_upstream.items()},
    )


def check_upstream_keys(settings: Settings) -> None:
    """Raises SettingsError if the key of an upstream is missing."""
    for name in settings.every_upstream:
        check_upstream_key(settings, name)


def check_upstream_key(settings: Settings, name: str) -> None:
    """Raises SettingsError if the upstream's key is missing."""
    upstream = settings.every_upstream[name]
    if not upstream.api_key and upstream.auth != "none":
        section = settings.upstream_section(name)
        raise SettingsError(
            f"[{section}] api_key is empty: set {settings.key_variable(name)}, or "
            'auth = "none" if the upstream needs no key'
        )


def open_upstream(settings: Settings, name: str) -> UpstreamClient:
    """The client of an upstream; it connects on first use. Raises SettingsError without a key."""
    from gateway.upstream.client import UpstreamClient

    check_upstream_key(settings, name)
    upstream = settings.every_upstream[name]
    return UpstreamClient(
        base_url=upstream.base_url,
        api_keys=[key.get_secret_value() for key in upstream.api_key],
        auth=upstream.auth,
        timeout_seconds=upstream.timeout_seconds,
        read_timeout_seconds=upstream.read_timeout_seconds,
        connect_timeout_seconds=upstream.connect_timeout_seconds,
        max_answer_bytes=settings.limits.max_answer_bytes,
        proxy=upstream.proxy,
        ca_bundle=upstream.ca_bundle,
        keep_alive=upstream.keep_alive,
        adapter=upstream.adapter,
        headers={name: value.get_secret_value() for name, value in upstream.headers.items()},
        query=upstream.query,
        models=upstream.models,
    )


def _extra_missing(what: str, extra: str) -> SettingsError:
    return SettingsError(f"{what} the extra: pip install 'image-edit-gateway[{extra}]'")


def open_webhooks(settings: Settings) -> WebhookClient:
    """The client of webhooks, which trusts what the upstreams' clients trust."""
    from gateway.alerts.webhook_client import WebhookClient

    warnings = settings.warnings
    return WebhookClient(
        secret=warnings.secret.get_secret_value(),
        proxy=warnings.proxy,
        ca_bundles=[each.ca_bundle for each in settings.every_upstream.values()],
    )


def open_mail(settings: Settings) -> MailClient | None:
    """The client of the mail server; None where none is set."""
    from gateway.alerts.mail_client import MailClient

    reports = settings.reports
    server = reports.mail_server
    if server is None:
        return None
    return MailClient(server, reports.mail_sender, ca_bundle=reports.ca_bundle)
