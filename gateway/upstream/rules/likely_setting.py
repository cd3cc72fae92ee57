"""The setting that is likely wrong where an upstream fails before it has edited a picture. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_MODEL = "the model's name at this upstream (models, or targets of [models.NAME])"
_BY_STATUS: Mapping[int, str] = {
    200: "api or base_url: what answers there doesn't answer as this API",
    401: "api_key: it isn't accepted; or auth, the header that carries it",
    403: "api_key: it may not do this; or auth, the header that carries it",
    404: f"base_url, or {_MODEL}: there is no such address or model",
    405: "base_url, edits_path or api: it takes no such call at this address",
    415: "api: it takes no request in this form",
}
_BY_ERROR: Mapping[str, str] = {
    "Proxy": "proxy: no connection through it",
    "Certificate": "ca_bundle: the certificate of its host isn't trusted; or base_url",
    "SSL": "base_url: its host doesn't speak TLS as asked, https:// or http://",
    "DNS": "base_url: its host is not known",
}
_UNREACHABLE = "base_url: nothing answers at its host and port; or proxy, if one is needed"


def likely_setting(section: str, *, status: int | None = None, error: str = "") -> str:
    """`[section] setting: why`, by an answer's status or the error of a call that never left.

    "" where the failure says nothing of the settings.
    """
    if status is None:
        found = next((text for name, text in _BY_ERROR.items() if name in error), _UNREACHABLE)
    elif 300 <= status < 400:
        found = "base_url: it redirects, which is not followed"
    else:
        found = _BY_STATUS.get(status, "")
    return found and f"[{section}] {found}"
