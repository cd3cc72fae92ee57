"""A bucket by its URL.

Options follow as a query, `s3://pictures/edits?endpoint=http://minio:9000&allow_http=true`:
any of obstore's settings for that kind of store (`endpoint`, `region`,
`virtual_hosted_style_request`, `account_name` …) and of its client's `allow_http`,
`allow_invalid_certificates` and `proxy_url`. Where the query is silent, the platform's own
variables hold: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, or the
machine's role. Credentials are taken from there alone, for a URL is shown in logs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

SCHEMES = ("s3", "gs", "az")
RETRIES = 2
CALL_SECONDS = 120.0
"""No call takes longer, whatever its size; each has a shorter time-out of its own."""
_CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url")
_CREDENTIALS = ("secret", "token", "password", "access_key", "account_key", "sas", "service_acc")


def open_bucket(url: str, timeout_seconds: float, folder: str = "") -> ObjectStore:
    """The bucket that a URL names, or a folder in it; nothing is sent yet.

    Raises ValueError, saying what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(f"{url} names no bucket: it must be s3://, gs:// or az:// and a name")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if any(word in name.lower() for word in _CREDENTIALS) or "@" in value:
            raise ValueError(f"{name} may not stand in a bucket's URL; set the environment's")
    client: dict[str, Any] = {
        "timeout": timedelta(seconds=CALL_SECONDS),
        "connect_timeout": timedelta(seconds=timeout_seconds),
    }
    client.update((name, options.pop(name)) for name in _CLIENT_OPTIONS if name in options)
    path = f"{parts.path.rstrip('/')}/{folder}" if folder else parts.path
    address = parts._replace(path=path, query="").geturl()
    try:
        return _build(address, options, client, timeout_seconds)
    except (BaseError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the bucket {parts.netloc} can't be used: {reason}") from error


def _build(address: str, config: Any, client_options: Any, timeout_seconds: float) -> ObjectStore:
    """obstore's settings are typed per kind of store; these come out of a query."""
    return from_url(
        address,
        config=config or None,
        client_options=client_options,
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=timeout_seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=0.05),
                "max_backoff": timedelta(seconds=0.5),
                "base": 2,
            },
        },
    )
