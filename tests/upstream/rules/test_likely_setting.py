"""The setting that a newcomer should look at, by how the first call fails."""

from __future__ import annotations

import pytest

from gateway.upstream.rules.likely_setting import likely_setting


@pytest.mark.parametrize(
    ("status", "setting"),
    [(401, "api_key"), (403, "api_key"), (404, "base_url"), (405, "base_url"), (302, "base_url"),
     (415, "api"), (200, "api")],
)  # fmt: skip
def test_a_status_points_at_a_setting(status: int, setting: str) -> None:
    assert likely_setting("upstream", status=status).startswith(f"[upstream] {setting}")


@pytest.mark.parametrize("status", [400, 402, 429, 500, 503])
def test_what_may_be_the_edit_the_account_or_the_upstream_points_at_none(status: int) -> None:
    assert likely_setting("upstream", status=status) == ""


@pytest.mark.parametrize(
    ("error", "setting"),
    [
        ("ClientConnectorDNSError: no connection", "base_url: its host is not known"),
        ("ClientConnectorCertificateError: no connection", "ca_bundle"),
        ("ClientConnectorSSLError: no connection", "base_url: its host doesn't speak TLS"),
        ("ClientProxyConnectionError: no connection", "proxy"),
        ("ClientConnectorError: no connection", "base_url: nothing answers"),
    ],
)
def test_an_error_of_the_connection_points_at_a_setting(error: str, setting: str) -> None:
    assert likely_setting("upstreams.a", error=error).startswith(f"[upstreams.a] {setting}")
