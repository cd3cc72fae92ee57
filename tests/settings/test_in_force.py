"""The settings as the console shows them: every one, and no secret."""

from __future__ import annotations

from gateway.settings import load
from gateway.settings.in_force import settings_in_force

SECRETS = {
    "GATEWAY_ADMIN__TOKEN": "gwt-of-the-admin",
    "GATEWAY_STATE__URL": "postgresql://gateway:pass-word@db.example/gateway?password=pass-word2",
    "GATEWAY_UPSTREAM__API_KEY": "sk-of-the-upstream",
    "GATEWAY_UPSTREAM__HEADERS": '{"x-organisation": "hidden-header"}',
    "GATEWAY_UPSTREAM__QUERY": '{"key": "hidden-query"}',
    "GATEWAY_UPSTREAM__PROXY": "http://me:hidden-proxy@proxy.example:3128",
    "GATEWAY_WARNINGS__WEBHOOK_URL": "https://hooks.example/hidden-path",
    "GATEWAY_WARNINGS__SECRET": "hidden-webhook-secret",
    "GATEWAY_SSO__CLIENT_SECRET": "hidden-client-secret",
    "GATEWAY_METRICS__TOKEN": "hidden-metrics-token",
    "GATEWAY_TRACING__HEADERS": "authorization=hidden-trace",
}


def test_no_secret_is_shown() -> None:
    found = settings_in_force(load(environment=SECRETS))

    text = repr(found)
    for part in ("hidden", "pass-word", "of-the-admin", "of-the-upstream"):
        assert part not in text
    shown = {f"[{each.section}] {each.name}": each.value for each in found}
    assert shown["[admin] token"] == "(secret)"
    assert shown["[state] url"] == "postgresql://…db.example/gateway…"
    assert shown["[upstream] proxy"] == "http://…proxy.example:3128"
    assert shown["[upstream] query"] == "key"


def test_what_is_changed_is_told_from_defaults() -> None:
    found = settings_in_force(load(environment={"GATEWAY_SERVER__PORT": "9000"}))

    changed = {(each.section, each.name, each.value) for each in found if each.is_changed}
    assert changed == {
        ("server", "port", "9000"),
        ('models."deepshi-image-1"', "price_ceiling_usd", "0.01"),
    }
