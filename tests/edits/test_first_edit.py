"""The first edit of a gateway whose settings are wrong says which is likely the one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.emulator import EmulatorServer
from tests.support.serving import Running, make_key, serving, settings_for

HINT = "No edit has succeeded at this upstream yet; likely wrong is "


def message(gateway: Running) -> str:
    return str(gateway.edit().json()["error"]["message"])


@pytest.mark.parametrize(
    ("upstream", "likely"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, "[upstream] base_url: nothing answers"),
        ({"base_url": "http://no-such-host.invalid/v1"}, "[upstream] base_url: its host is not"),
        ({"api_key": "sk-wrong-0000"}, "[upstream] api_key: it isn't accepted"),
        ({"edits_path": "/images/edit"}, "[upstream] base_url, or the model's name"),
    ],
)
def test_the_first_failure_names_the_setting_to_the_client_and_in_the_log(
    upstream: dict[str, Any], likely: str, tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator, {"upstream": {**upstream, "max_attempts": 1}})
    make_key(settings)
    with serving(settings) as gateway:
        said = message(gateway)

        assert HINT + likely in said
        assert likely in gateway.log.getvalue()
        assert "sk-wrong" not in gateway.log.getvalue() + said


def test_once_an_edit_has_succeeded_no_setting_is_suspected(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    settings = settings_for(tmp_path, emulator)
    make_key(settings)
    with serving(settings) as gateway:
        assert gateway.edit("first").status_code == 200
        emulator.order({"status": 401})

        refused = gateway.edit("second").json()["error"]["message"]
        assert "No edit has succeeded" not in refused
