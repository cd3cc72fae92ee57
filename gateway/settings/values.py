"""The values of settings: what may be written, and what it is read as.

A validator raises ValueError, with what to give instead.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
)

from gateway.alerts.rules.mail_addresses import address_in
from gateway.alerts.rules.mail_server import parse_mail_server
from gateway.model.money import nanos_of
from gateway.model.suggestions import did_you_mean
from gateway.model.units import bytes_of, seconds_of
from gateway.uploads.rules.picture_sniffer import PictureFormat
from gateway.upstream.adapters import ADAPTERS
from gateway.upstream.rules.picture_hosts import parse_hosts

PREFIX = "GATEWAY_"
PLACEHOLDER = "CHANGE-ME"
"""What examples say where everybody has another value."""
_OWN_HEADERS = (
    "accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host",
    "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-client-request-id",
)  # fmt: skip
"""Headers of an upstream call that can't carry its key."""
_LIKE_A_VARIABLE = re.compile(
    r"\$(?:\{(\w+)\}|([A-Z][A-Z0-9_]+))|(?!env:\w)(?:env|ENV|Env)\s*[:.=/]\s*(\w+)", re.ASCII
)


def _nanos(value: object) -> int | None:
    """Dollars as decimal text or a TOML number (read as Decimal), in nano-dollars."""
    if value is None or value == "":
        return None
    nanos = nanos_of(value)
    if nanos is None:
        raise ValueError("give an amount in dollars such as 0.37 or 250")
    return nanos


def as_list(value: object) -> object:
    """A list, or from the environment a JSON list or comma-separated text."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _secret(value: object) -> object:
    """`env:NAME`, `file:PATH`, or the secret itself, stripped; an unset variable is empty."""
    found = _resolved(value)
    found = found.strip() if isinstance(found, str) else found
    if isinstance(found, str) and PLACEHOLDER in found:
        raise ValueError(f"is still {PLACEHOLDER}: set your own secret")
    return found


def _resolved(value: object) -> object:
    if not isinstance(value, str):
        return value
    if meant := _LIKE_A_VARIABLE.fullmatch(value.strip()):
        raise ValueError(f'write "env:{meant[1] or meant[2] or meant[3]}" to read that variable')
    if value.startswith("env:"):
        return os.environ.get(value[4:], "")
    if value.startswith("file:"):
        try:
            return Path(value[5:]).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"can't read {value[5:]}: {error.strerror}") from None
    return value


def _secrets(value: object) -> object:
    if isinstance(value, str) and not value.startswith(("env:", "file:", "[")):
        value = value.split(",")
    parts = as_list(value) if isinstance(value, str) and value.startswith("[") else value
    resolved = [_secret(part) for part in (parts if isinstance(parts, list) else [parts])]
    return tuple(secret for secret in resolved if secret)


def header_values(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Secrets that are sent in a header; the text of the error has the place, never the secret."""
    for number, secret in enumerate(secrets, 1):
        for place, character in enumerate(secret.get_secret_value(), 1):
            if not "!" <= character <= "~":
                raise ValueError(
                    f"key {number} has U+{ord(character):04X} as character {place}, which a header "
                    "can't hold: copy the key again"
                )
    return secrets


def known_auth(auth: str) -> str:
    name = auth.removeprefix("header:").lower()
    if not re.fullmatch(r"bearer|none|header:[A-Za-z0-9_-]{1,64}", auth) or name in _OWN_HEADERS:
        raise ValueError(
            f'{auth!r}: give "bearer", "none", or "header:NAME" such as header:api-key'
        )
    return auth


def known_api(api: str) -> str:
    if api not in ADAPTERS:
        raise ValueError(f"{api!r} is not known. {did_you_mean(api, list(ADAPTERS))}")
    return api


def as_table(value: object) -> Mapping[str, Any]:
    """A table, or from the environment a JSON object."""
    try:
        found = json.loads(value) if isinstance(value, str) and value else value or {}
    except ValueError:
        found = value
    if not isinstance(found, Mapping):
        raise ValueError('give a table such as { name = "value" }, in the environment as JSON')
    return found


def as_table_or_none(value: object) -> Mapping[str, Any] | None:
    return as_table(value) or None


def _sent_headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name!r} is not a header that can be added")
        if not re.fullmatch(r"[\x20-\x7e]*", value.get_secret_value()):
            raise ValueError(f"{name}: its value has characters that a header can't hold")
    return headers


def known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin") from None
    return name


def valid_networks(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            wanted = "an address such as 10.0.0.5 or a network such as 10.0.0.0/24"
            raise ValueError(f"{proxy!r} is not {wanted}") from None
    return proxies


def valid_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s?#@*A-Z]+", origin):
            wanted = 'an origin in lower case, such as https://app.example.com, or "*"'
            raise ValueError(f"{origin!r} is not {wanted}")
    return origins


def valid_public_url(url: str) -> str:
    if url and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", url):
        raise ValueError("give the gateway's own URL, such as https://images.example.com")
    if url.rstrip("/").endswith("/v1"):
        raise ValueError("leave out /v1: paths are added to it")
    return url.rstrip("/")


def valid_roles(roles: Mapping[str, str]) -> Mapping[str, str]:
    """What a person may whose claim has this value: `[sso] roles`."""
    for group, role in roles.items():
        if not re.fullmatch(r"admin|finance|(team|member):.+", role):
            raise ValueError(f"{group!r}: give admin, finance, team:NAME or member:NAME")
    return roles


def valid_picture_hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    parse_hosts(entries)
    return entries


def readable_certificates(file: str) -> str:
    """A file of certificates that OpenSSL reads; "" for the usual ones."""
    try:
        ssl.create_default_context(cafile=file) if file else None
    except OSError as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else "not in PEM format"
        raise ValueError(f"can't read the certificates in {file}: {reason}") from None
    return file


def mail_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        if address_in(address) != address:
            raise ValueError(f"{address!r} is not an address such as finance@example.com")
    return addresses


def valid_mail_server(url: SecretStr) -> SecretStr:
    if url.get_secret_value():
        parse_mail_server(url.get_secret_value())
    return url


def like(pattern: str, wanted: str) -> AfterValidator:
    """Accept text, or a list of texts, that match; the message shows neither pattern nor value."""

    def check(value: Any) -> Any:
        for each in value if isinstance(value, tuple) else (value,):
            text = each.get_secret_value() if isinstance(each, SecretStr) else each
            if not re.fullmatch(pattern, text):
                raise ValueError(f"give {wanted}")
        return value

    return AfterValidator(check)


ByteSize = Annotated[int, BeforeValidator(bytes_of), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(seconds_of), Field(ge=0, allow_inf_nan=False)]
Nanos = Annotated[int, BeforeValidator(_nanos)]
MaybeNanos = Annotated[int | None, BeforeValidator(_nanos)]
TextList = Annotated[tuple[str, ...], BeforeValidator(as_list)]
PictureFormats = Annotated[tuple[PictureFormat, ...], BeforeValidator(as_list), Field(min_length=1)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
SecretText = Annotated[str, BeforeValidator(_secret)]  # with a secret in it; shown without
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_secrets)]
Filters = Annotated[Mapping[str, TextList], BeforeValidator(as_table)]
TextTable = Annotated[Mapping[str, str], BeforeValidator(as_table)]
SentHeaders = Annotated[
    Mapping[str, Secret], BeforeValidator(as_table), AfterValidator(_sent_headers)
]
NaturalCount = Annotated[int, Field(ge=1)]
SomeSeconds = Annotated[float, BeforeValidator(seconds_of), Field(ge=0.1, allow_inf_nan=False)]
Percent = Annotated[int, Field(ge=1, le=100)]
HttpUrl = like(r"(https?://[^\s/]+\S*)?", "a URL that begins with https:// or http://")
OptionalUrl = Annotated[str, HttpUrl]
Recipients = Annotated[TextList, AfterValidator(mail_addresses)]


def unknown_name(name: str, known: list[str], kind: str = "setting") -> str:
    return f"no {kind} {name!r}. {did_you_mean(name, known)}"


def name_in_variable(name: str) -> str:
    return re.sub("[^a-z0-9]", "_", name.lower())
