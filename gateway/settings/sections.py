"""The sections of the settings file, each a frozen table."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)

from gateway.accounts.rules.end_users import Keeping
from gateway.accounts.rules.errors import BadValue
from gateway.accounts.rules.field_types import FLAG, MONEY, NAMES, FieldType
from gateway.accounts.rules.limits import LIMITS_BY_NAME
from gateway.alerts.rules.channels import Channels
from gateway.alerts.rules.mail_addresses import ADDRESS, MailAddresses, domain_of
from gateway.alerts.rules.mail_server import MailServer, parse_mail_server
from gateway.ledger.rules.chargeback import BookingDate, LineTemplate
from gateway.ledger.rules.statement_formats import Dates, Encoding, Granularity, Numbers
from gateway.ledger.rules.statement_lines import Columns, StatementOptions
from gateway.model.caller import Limits
from gateway.model.suggestions import did_you_mean
from gateway.pricing.rules.price_table import RATE_NAMES, PicturePrice
from gateway.pricing.rules.target_prices import TargetPrice
from gateway.settings.values import (
    PREFIX,
    ByteSize,
    Filters,
    HttpUrl,
    MaybeNanos,
    Nanos,
    NaturalCount,
    OptionalUrl,
    Percent,
    PictureFormats,
    Recipients,
    Seconds,
    Secret,
    Secrets,
    SecretText,
    SentHeaders,
    SomeSeconds,
    TextList,
    TextTable,
    as_list,
    as_table,
    as_table_or_none,
    header_values,
    known_api,
    known_auth,
    known_zone,
    like,
    name_in_variable,
    readable_certificates,
    unknown_name,
    valid_mail_server,
    valid_networks,
    valid_origins,
    valid_picture_hosts,
    valid_public_url,
    valid_roles,
)
from gateway.uploads.rules.picture_sniffer import PictureFormat
from gateway.upstream.adapters import ADAPTERS, Adapter
from gateway.upstream.rules.adapter_facts import adapter_facts
from gateway.upstream.rules.picture_hosts import PictureHosts, parse_hosts
from gateway.upstream.rules.retry_policy import LONGEST_WAIT_SECONDS

_DISK, _SQLITE = "disk:", "sqlite:"
_OPENAI = "openai"
_UPSTREAM_NAME = "[A-Za-z0-9._-]{1,64}"
DOCUMENTED_PRICES = MappingProxyType({"deepshi-image-1": {"price_ceiling_usd": "0.01"}})


class SettingsError(Exception):
    """One or more settings are wrong; each line of the text says which and how."""


class SettingsSection(BaseModel):
    """A TOML table; unknown names are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class ServerSettings(SettingsSection):
    host: Annotated[str, AfterValidator(lambda host: host.strip("[]"))] = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    client_wait_seconds: Seconds = 280.0
    stream_heartbeat_seconds: SomeSeconds = 15.0
    upload_stall_seconds: Seconds = 30.0
    upload_seconds: Seconds = 300.0
    drain_seconds: Seconds = 180.0
    max_header_lines: NaturalCount = 100
    max_header_bytes: Annotated[ByteSize, Field(ge=1024)] = 64 * 2**10
    header_seconds: SomeSeconds = 15.0
    max_connections: NaturalCount = 2000
    max_connections_per_address: NaturalCount = 1000
    answer_seconds: SomeSeconds = 60.0
    max_unsent_bytes: Annotated[ByteSize, Field(ge=2**20)] = 256 * 2**20
    trusted_proxies: Annotated[TextList, AfterValidator(valid_networks)] = ()
    cors_origins: Annotated[TextList, AfterValidator(valid_origins)] = ()
    public_url: Annotated[str, AfterValidator(valid_public_url)] = ""
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    spool_folder: str = ""
    spool_bytes: ByteSize = 64 * 2**20

    @property
    def base_url(self) -> str:
        """The base URL of clients: the public one, or that of clients on this machine."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
        host = everywhere.get(self.host, self.host)
        at = f"[{host}]" if ":" in host else host
        return f"{self.public_url or f'http://{at}:{self.port}'}/v1"

    @property
    def console_url(self) -> str:
        """The address of the console; "" where the gateway's own is not known."""
        return f"{self.public_url.rstrip('/')}/console" if self.public_url else ""


_Columns = create_model(  # type: ignore[call-overload]
    "_Columns",
    __base__=SettingsSection,
    **{column.name: (str, column.default) for column in dataclasses.fields(Columns)},
)


class StatementSettings(_Columns):
    """[statement]: how `ledger reconcile` reads the upstream's statement.

    [upstreams.NAME.statement] is that of one upstream.
    """

    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    granularity: Granularity = "call"
    numbers: Numbers = "plain"
    dates: Dates = "iso"
    encoding: Encoding = "utf-8"
    title_lines: int = Field(default=0, ge=0, le=1000)
    filters: Filters = Field(default_factory=dict)
    models: TextTable = Field(default_factory=dict)

    @property
    def options(self) -> StatementOptions:
        names = [column.name for column in dataclasses.fields(Columns)]
        return StatementOptions(
            columns=Columns(**{name: getattr(self, name) for name in names}),
            granularity=self.granularity,
            numbers=self.numbers,
            dates=self.dates,
            encoding=self.encoding,
            title_lines=self.title_lines,
            zone=ZoneInfo(self.timezone),
            filters=self.filters,
            models=self.models,
        )


class UpstreamSettings(SettingsSection):
    """[upstream], or one [upstreams.NAME] of several."""

    name: Annotated[str, like(_UPSTREAM_NAME, "1 to 64 of A-Z a-z 0-9 . _ -")] = "deepshi"
    base_url: Annotated[str, Field(min_length=1), HttpUrl] = "https://api.deepshi.ai/v1"
    api_key: Annotated[Secrets, AfterValidator(header_values)] = Field(
        default="env:DEEPSHI_API_KEY"  # type: ignore[arg-type]
    )
    auth: Annotated[str, AfterValidator(known_auth)] = "bearer"
    api: Annotated[str, AfterValidator(known_api)] = _OPENAI
    headers: SentHeaders = Field(default_factory=dict)
    query: TextTable = Field(default_factory=dict)
    edits_path: Annotated[str, like("/.*", "a path such as /images/edits")] = "/images/edits"
    generations_path: Annotated[str, like("/.*", "a path such as /images/generations")] = (
        "/images/generations"
    )
    models: TextList = ()
    timeout_seconds: Seconds = 600.0
    read_timeout_seconds: Seconds = 600.0
    connect_timeout_seconds: Seconds = 10.0
    max_connections: NaturalCount = 100
    max_waiting: Annotated[int, Field(ge=0)] = 200
    queue_seconds: Seconds = 60.0
    max_attempts: NaturalCount = 3
    circuit_failures: Annotated[int, Field(ge=0)] = 5
    circuit_seconds: SomeSeconds = 30.0
    cost_path: str = "usage.cost.total_cost"
    price_ceiling_usd: Nanos = Field(default="0.25")  # type: ignore[assignment]
    implausible_cost_usd: Nanos = Field(default="10")  # type: ignore[assignment]
    uncharged_statuses: Annotated[
        TextList, like(r"[45](\d\d|xx)", "a status such as 503, or a class such as 4xx")
    ] = ("4xx", "503")
    catalogue_seconds: Seconds = 300.0
    first_call_alone: bool = True
    keep_alive: bool = False
    picture_hosts: Annotated[TextList, AfterValidator(valid_picture_hosts)] = ()
    picture_formats: PictureFormats = ("png", "jpeg", "webp")
    proxy: OptionalUrl = ""
    ca_bundle: Annotated[str, AfterValidator(readable_certificates)] = ""
    statement: Annotated[StatementSettings | None, BeforeValidator(as_table_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _as_documented(cls, given: object) -> object:
        """What is not given, or empty, is as the API documents it."""
        api = str(given.get("api", _OPENAI)) if isinstance(given, Mapping) else ""
        if not isinstance(given, Mapping) or api not in ADAPTERS:
            return given
        endpoint = ADAPTERS[api].endpoint
        documented = {
            "base_url": endpoint.base_url,
            "api_key": f"env:{endpoint.key_variable}",
            **({} if api == _OPENAI else {"name": api}),
        }
        may_be_empty = {
            "auth": endpoint.auth,
            "edits_path": endpoint.edits_path,
            "generations_path": endpoint.generations_path,
        }
        filled = {name: given.get(name) or value for name, value in may_be_empty.items()}
        query = given.get("query", {})
        with contextlib.suppress(ValueError):  # the setting's own check says what is wrong
            query = {**endpoint.query, **as_table(query)}
        return {**documented, **given, **filled, "query": query}

    @model_validator(mode="after")
    def _has_models(self) -> Self:
        if not self.models and not ADAPTERS[self.api].endpoint.models_path:
            raise ValueError(
                f'models: the API "{self.api}" has no list of models; name its deployments here, '
                'such as models = ["img-prod"]'
            )
        return self

    @property
    def adapter(self) -> Adapter:
        return ADAPTERS[self.api](adapter_facts(self.base_url))

    @property
    def hosts(self) -> PictureHosts:
        """From where pictures that it gives as URLs may be fetched."""
        return parse_hosts(self.picture_hosts)

    @property
    def target(self) -> str:
        """The name in fingerprints; an upstream without a name of its own is `default`."""
        is_named = self.name != type(self).model_fields["name"].default
        return self.name if is_named else "default"

    @property
    def longest_flight_ms(self) -> int:
        """The longest possible upstream call. Only an older reservation can be abandoned."""
        tries_seconds = 2 * self.timeout_seconds  # the last one begins within the first time-out
        return int(1000 * (self.queue_seconds + LONGEST_WAIT_SECONDS + tries_seconds))

    @field_validator("base_url")
    @classmethod
    def _no_slash(cls, url: str) -> str:
        return url.rstrip("/")


class CacheSettings(SettingsSection):
    url: Annotated[
        str, like("(disk|s3|gs|az):.+", "disk:FOLDER, s3://BUCKET, gs://BUCKET or az://CONTAINER")
    ] = "disk:var/cache"
    local_folder: str = Field(default="var/cache", min_length=1)
    max_bytes: ByteSize = 20 * 10**9
    memory_bytes: ByteSize = 32 * 10**6
    ttl: Seconds = 30 * 86400.0
    scope: Literal["key", "team", "organisation"] = "team"
    generations: bool = False
    obey_cache_control: bool = False
    link_seconds: Annotated[Seconds, Field(ge=1, le=366 * 86400)] = 3600.0
    timeout_seconds: Seconds = 2.0
    failure_memory_seconds: Seconds = 120.0
    refusal_memory_seconds: Seconds = 60.0

    @property
    def bucket_url(self) -> str | None:
        """The object store; None where results are on this machine's disk alone."""
        return None if self.url.startswith(_DISK) else self.url

    @property
    def folder(self) -> Path:
        """The folder for results on this machine's disk, in front of an object store too."""
        return Path(self.local_folder if self.bucket_url else self.url.removeprefix(_DISK))


class StateSettings(SettingsSection):
    url: Annotated[
        SecretText,
        like("(sqlite:|postgres(ql)?://).+", "sqlite:FILE or postgresql://USER:PASSWORD@HOST/NAME"),
    ] = "sqlite:var/gateway.db"
    auth_stale_seconds: Seconds = 300.0
    refresh_seconds: Seconds = 0.4
    lease_seconds: Annotated[Seconds, Field(ge=1)] = 10.0
    usage_days: NaturalCount = 90

    @property
    def sqlite_file(self) -> Path | None:
        """The file of SQLite; None where the state is in PostgreSQL."""
        return Path(self.url.removeprefix(_SQLITE)) if self.url.startswith(_SQLITE) else None

    @property
    def printable_url(self) -> str:
        """The URL without user, password and query, which may hold a password too."""
        scheme, separator, rest = self.url.partition("://")
        if not separator:
            return self.url
        before, query, _ = rest.partition("?")
        user, at, address = before.rpartition("@")
        return f"{scheme}://{'…' if user else ''}{at}{address}{query and '?…'}"


class RequestLimitSettings(SettingsSection):
    """[limits]: maximum sizes of one request and one answer."""

    max_body_bytes: ByteSize = 300 * 10**6
    max_image_bytes: ByteSize = 50 * 10**6
    max_answer_bytes: ByteSize = 100 * 10**6
    max_image_pixels: NaturalCount = 200_000_000


class EndUserSettings(SettingsSection):
    """[accounts]: how end users are kept."""

    end_users: Keeping = "hashed"
    max_end_users: NaturalCount = 10_000


class SandboxSettings(SettingsSection):
    """[sandbox]: what the requests of sandbox keys may use."""

    requests_per_minute: NaturalCount = 60
    cache_bytes: ByteSize = 500 * 10**6
    memory_bytes: Annotated[ByteSize, Field(ge=256 * 10**6)] = 10**9


class AdminSettings(SettingsSection):
    token: Secret = Field(default="env:GATEWAY_ADMIN_TOKEN")  # type: ignore[assignment]


class ConsoleSettings(SettingsSection):
    """[console]: the web pages. They answer on loopback, or where `[server] public_url` is set."""

    enabled: bool = True
    public_index: bool = False
    gallery: bool = False
    keep_inputs: Literal["off", "prompts", "all"] = "off"
    keep_inputs_days: Annotated[int, Field(ge=1, le=3650)] = 30
    share_link_seconds: Annotated[Seconds, Field(ge=0, le=366 * 86400)] = 7 * 86400.0


class SsoSettings(SettingsSection):
    """[sso]: sign-in to the console by OpenID Connect; off without an issuer."""

    issuer: Annotated[
        str,
        like(
            r"(https://[^\s/?#]+|http://(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?)(/[^\s?#]*)?|",
            "the provider's issuer, a URL that begins with https://",
        ),
    ] = ""
    client_id: str = ""
    client_secret: Secret = Field(default="env:GATEWAY_SSO_CLIENT_SECRET")  # type: ignore[assignment]
    name: str = "your organisation"
    scopes: TextList = ("openid", "email", "profile")
    name_claim: str = "email"
    roles_claim: str = "groups"
    roles: Annotated[TextTable, AfterValidator(valid_roles)] = Field(default_factory=dict)
    contact: str = "an administrator of the gateway"
    ca_bundle: Annotated[str, AfterValidator(readable_certificates)] = ""


class MetricsSettings(SettingsSection):
    token: Secret = SecretStr("")
    survey_seconds: SomeSeconds = 10.0
    max_teams: NaturalCount = 1_000
    max_keys: NaturalCount = 1_000
    max_key_budgets: Annotated[int, Field(ge=0)] = 100


class TracingSettings(SettingsSection):
    endpoint: OptionalUrl = ""
    headers: Annotated[Secrets, like(r"[A-Za-z0-9-]+ *=.*", "each header as NAME=VALUE")] = ()
    service_name: str = Field(default="image-edit-gateway", min_length=1)
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class WarningSettings(SettingsSection):
    """[warnings]: budget thresholds and their webhook. Accounts may override both."""

    percents: Annotated[tuple[Percent, ...], BeforeValidator(as_list)] = (50, 80, 100)
    webhook_url: Annotated[Secret, HttpUrl] = SecretStr("")
    secret: Secret = Field(default="env:GATEWAY_WEBHOOK_SECRET")  # type: ignore[assignment]
    proxy: OptionalUrl = ""
    to: Recipients = ()


class ReportSettings(SettingsSection):
    """[reports]: usage reports by schedule, and the mail server, which alerts use too."""

    schedule: Literal["", "weekly", "monthly"] = ""
    webhook_url: Annotated[Secret, HttpUrl] = SecretStr("")
    smtp_url: Annotated[Secret, AfterValidator(valid_mail_server)] = SecretStr("")
    to: Recipients = ()
    sender: Annotated[str, like(f"({ADDRESS})?", "an address such as gateway@example.com")] = ""
    domains: TextList = ()
    ca_bundle: Annotated[str, AfterValidator(readable_certificates)] = ""

    @property
    def permitted_domains(self) -> frozenset[str]:
        """The given domains, else those of `to`."""
        return frozenset(each.lower() for each in self.domains or map(domain_of, self.to))

    @property
    def mail_server(self) -> MailServer | None:
        url = self.smtp_url.get_secret_value()
        return parse_mail_server(url) if url else None

    @property
    def mail_sender(self) -> str:
        """The given sender, else one in the first of the domains."""
        domain = [*self.domains, *map(domain_of, self.to)][0]
        return self.sender or f"image-gateway@{domain.lower()}"

    @model_validator(mode="after")
    def _check_recipients(self) -> Self:
        if self.smtp_url.get_secret_value() and not self.permitted_domains:
            raise ValueError(
                "smtp_url: name recipients in `to`, or the domains that may be mailed in `domains`"
            )
        return self


class ChargebackSettings(SettingsSection):
    """[chargeback]: what the lines of `ledger export --format chargeback` say."""

    account: str = ""
    text: str = "Image edits {month}"
    posting_date: BookingDate = "month_end"

    @property
    def line_template(self) -> LineTemplate:
        return LineTemplate(self.account, self.text, self.posting_date)


class PicturePriceSettings(SettingsSection):
    """The price of one picture; an empty quality or size is any."""

    usd: Nanos
    quality: str = ""
    size: str = ""


class TargetPriceSettings(SettingsSection):
    """[prices.targets."UPSTREAM/MODEL"]: rates, prices by picture, or a discount."""

    text_in: MaybeNanos = None
    image_in: MaybeNanos = None
    cached_text_in: MaybeNanos = None
    cached_image_in: MaybeNanos = None
    text_out: MaybeNanos = None
    image_out: MaybeNanos = None
    picture: tuple[PicturePriceSettings, ...] = ()
    discount_percent: Decimal = Field(default=Decimal(0), ge=0, lt=100, decimal_places=4)
    valid_from: date | None = None

    @model_validator(mode="after")
    def _check_one_kind(self) -> Self:
        if bool(self.rates) + bool(self.picture) + bool(self.discount_percent) != 1:
            raise ValueError("give rates, or prices by picture, or discount_percent")
        names = {(each.quality, each.size) for each in self.price.pictures}
        if len(names) < len(self.picture):
            raise ValueError("picture: two prices of one quality and size")
        return self

    @property
    def rates(self) -> Mapping[str, int]:
        return {name: rate for name in RATE_NAMES if (rate := getattr(self, name)) is not None}

    @property
    def price(self) -> TargetPrice:
        return TargetPrice(
            rates=self.rates,
            pictures=tuple(
                PicturePrice(each.usd, each.quality.lower(), each.size.lower())
                for each in self.picture
            ),
            discount_percent=self.discount_percent.normalize(),
            valid_from=self.valid_from.isoformat() if self.valid_from else "",
        )


class PriceSettings(SettingsSection):
    """[prices]: the price table, and what targets cost instead."""

    file: str = ""
    targets: Annotated[Mapping[str, TargetPriceSettings], BeforeValidator(as_table)] = Field(
        default_factory=dict
    )


class LogSettings(SettingsSection):
    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _new_team_limits(value: object) -> object:
    """The limits of `[new_team]`, by the names and types of `LIMITS`."""
    if not isinstance(value, Mapping):
        return value
    limits = {}
    for name, given in value.items():
        if name not in LIMITS_BY_NAME:
            raise ValueError(unknown_name(name, list(LIMITS_BY_NAME)))
        limit = LIMITS_BY_NAME[name]
        try:
            limits[limit.column] = limit.type.parse(name, _typed(given, limit.type))
        except BadValue as error:
            raise ValueError(error.message) from None
    return Limits(**limits)


def _typed(value: object, type_: FieldType) -> object:
    """A value of the environment, which is always text, as TOML would give it."""
    if not isinstance(value, str):
        return value
    if type_ is FLAG:
        return {"true": True, "false": False}.get(value.lower(), value)
    if type_ is NAMES:
        return as_list(value)
    return None if type_ is MONEY and not value else value


class ModelSettings(SettingsSection):
    """[models."NAME"]: where it is bought, for how much, and overrides of the catalogue."""

    targets: Annotated[
        TextList, like(f"{_UPSTREAM_NAME}/.+", 'UPSTREAM/MODEL, such as "azure/img-prod"')
    ] = ()
    aliases: TextList = ()
    equivalent: bool = False
    price_ceiling_usd: MaybeNanos = None
    max_reference_images: int | None = Field(default=None, ge=0)
    max_n: int | None = Field(default=None, ge=1)
    edit_supported: bool | None = None

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("targets: one is named twice")
        if self.equivalent and len(self.targets) < 2:
            raise ValueError("equivalent: name the targets whose results are equivalent in targets")
        return self


def _check_upstream(where: str, target: str, upstreams: list[str]) -> None:
    upstream, slash, model = target.partition("/")
    if not slash or not model:
        raise ValueError(f'{where}: give UPSTREAM/MODEL, such as "azure/img-prod"')
    if upstream not in upstreams:
        raise ValueError(f"{where}: no upstream {upstream!r}. {did_you_mean(upstream, upstreams)}")


_EMPTY_TABLE: Any = Field(default_factory=dict)
"""A section by default: it is validated like an empty table, without a validator of its own."""


class Settings(SettingsSection):
    """All settings of the gateway."""

    server: ServerSettings = _EMPTY_TABLE
    upstream: UpstreamSettings = _EMPTY_TABLE
    upstreams: Mapping[str, UpstreamSettings] = Field(default_factory=dict)
    cache: CacheSettings = _EMPTY_TABLE
    state: StateSettings = _EMPTY_TABLE
    limits: RequestLimitSettings = _EMPTY_TABLE
    accounts: EndUserSettings = _EMPTY_TABLE
    sandbox: SandboxSettings = _EMPTY_TABLE
    admin: AdminSettings = _EMPTY_TABLE
    console: ConsoleSettings = _EMPTY_TABLE
    sso: SsoSettings = _EMPTY_TABLE
    metrics: MetricsSettings = _EMPTY_TABLE
    tracing: TracingSettings = _EMPTY_TABLE
    warnings: WarningSettings = _EMPTY_TABLE
    reports: ReportSettings = _EMPTY_TABLE
    statement: StatementSettings = _EMPTY_TABLE
    chargeback: ChargebackSettings = _EMPTY_TABLE
    log: LogSettings = _EMPTY_TABLE
    prices: PriceSettings = _EMPTY_TABLE
    new_team: Annotated[InstanceOf[Limits], BeforeValidator(_new_team_limits)] = Limits()
    models: Mapping[str, ModelSettings] = Field(default_factory=dict)

    @field_validator("models", mode="before")
    @classmethod
    def _with_documented_prices(cls, value: object) -> object:
        """Keep the documented prices of models that the file doesn't name."""
        return {**DOCUMENTED_PRICES, **value} if isinstance(value, dict) else value

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, given: object) -> object:
        if isinstance(given, Mapping) and given.get("upstream") and given.get("upstreams"):
            raise ValueError(
                "[upstream] is the short form for exactly one upstream: with [upstreams.NAME], "
                "leave it out, its variables GATEWAY_UPSTREAM__… too"
            )
        return given

    @field_validator("upstreams", mode="before")
    @classmethod
    def _named_by_their_tables(cls, given: object) -> object:
        tables = dict(given) if isinstance(given, Mapping) else {"": given}
        for name, table in tables.items():
            if not isinstance(table, Mapping) or "name" in table:
                raise ValueError(
                    "give a table for each upstream, such as [upstreams.openai], without `name`"
                )
            elsewhere = "base_url" in table and table.get("api", _OPENAI) == _OPENAI
            no_key = {"api_key": ""} if elsewhere else {}  # not another upstream's by default
            tables[name] = {**no_key, **table, "name": name}
        return tables

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        upstreams = list(self.every_upstream)
        models: dict[str, str] = {}
        for model, section in self.models.items():
            for target in section.targets:
                _check_upstream(f'[models."{model}"] targets', target, upstreams)
            for alias in section.aliases:
                if (other := models.setdefault(alias, model)) != model or alias == model:
                    raise ValueError(
                        f'[models."{model}"] aliases: {alias!r} already is a name of {other!r}'
                    )
        for target in self.prices.targets:
            _check_upstream(f'[prices.targets."{target}"]', target, upstreams)
        return self

    @model_validator(mode="after")
    def _check_recipients(self) -> Self:
        domains = self.reports.permitted_domains
        for section, recipients in (("reports", self.reports.to), ("warnings", self.warnings.to)):
            for address in recipients:
                if domains and domain_of(address) not in domains:
                    raise ValueError(
                        f"[{section}] to: {address!r} is outside of the domains that may be "
                        f"mailed, {', '.join(sorted(domains))}: add its domain to [reports] domains"
                    )
        return self

    @property
    def channels(self) -> Channels:
        """Where alerts and reports go."""
        reports, warnings = self.reports, self.warnings
        mail = MailAddresses(warnings.to or reports.to, reports.permitted_domains)
        return Channels(
            webhook_url=warnings.webhook_url.get_secret_value(),
            report_url=reports.webhook_url.get_secret_value(),
            mail=mail if reports.mail_server else None,
        )

    @model_validator(mode="after")
    def _check_sso(self) -> Self:
        if not self.sso.issuer:
            return self
        given = {
            "[server] public_url": self.server.public_url,
            "[sso] client_id": self.sso.client_id,
            "[sso] roles": self.sso.roles,
        }
        if missing := [name for name, value in given.items() if not value]:
            raise ValueError(f"[sso] issuer: sign-in needs {' and '.join(missing)} too")
        return self

    @property
    def every_upstream(self) -> Mapping[str, UpstreamSettings]:
        """The upstreams by name, in the order in which they are asked for a model."""
        return self.upstreams or {self.upstream.name: self.upstream}

    def statement_options(self, upstream: str) -> StatementOptions:
        """How the statement of an upstream is read: by its own section, else by [statement]."""
        found = self.every_upstream.get(upstream)
        return ((found and found.statement) or self.statement).options

    @property
    def picture_formats(self) -> tuple[PictureFormat, ...]:
        """Every format that an upstream takes."""
        formats = (each.picture_formats for each in self.every_upstream.values())
        return tuple(dict.fromkeys(name for names in formats for name in names))

    def key_variable(self, upstream: str) -> str:
        """The variable of the environment that may have an upstream's key."""
        if self.upstreams:
            return f"{PREFIX}upstreams__{name_in_variable(upstream)}__api_key".upper()
        return self.upstream.adapter.endpoint.key_variable

    def upstream_name(self, given: str | None = None) -> str:
        """The given name, or that of the only upstream. Raises SettingsError."""
        if given is None and len(self.every_upstream) > 1:
            raise SettingsError(f"name the upstream, one of {', '.join(self.every_upstream)}")
        return given or next(iter(self.every_upstream))

    def upstream_section(self, name: str) -> str:
        """The section of an upstream's settings."""
        return f"upstreams.{name}" if self.upstreams else "upstream"

    @property
    def longest_flight_ms(self) -> int:
        """The longest possible call of any upstream."""
        return max(each.longest_flight_ms for each in self.every_upstream.values())

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.server.timezone)
