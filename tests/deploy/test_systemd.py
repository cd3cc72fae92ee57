"""The systemd unit: verified and scored by systemd itself, and at one with the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import load

UNIT = Path("deploy/systemd/image-edit-gateway.service")
SYSUSERS = Path("deploy/systemd/image-edit-gateway.sysusers.conf")
WORST_EXPOSURE = 20
"""Tenths: 2.0 of 10. It is 1.4 with systemd 252; later ones look at more."""

analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")


def values(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program and a user that are there on any machine."""
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.M)
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    return copy


@analyze
def test_systemd_finds_no_fault_in_it(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@analyze
def test_systemd_scores_it_as_well_shut(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager",
         f"--threshold={WORST_EXPOSURE}", unit],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1:] + done.stderr.splitlines()


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="no systemd-sysusers here")
def test_its_user_is_declared() -> None:
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", SYSUSERS.absolute()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (user,) = values("User")
    assert f"u {user} " in SYSUSERS.read_text()


def test_each_credential_is_loaded_and_read_by_the_settings(tmp_path: Path) -> None:
    loaded = {value.partition(":")[0] for value in values("LoadCredential")}
    for name in loaded:
        (tmp_path / name).write_text(f"secret-{name}\n")
    environment = {}
    for value in " ".join(values("Environment")).replace("%d", str(tmp_path)).split():
        if value.startswith("GATEWAY_") and "__" in value:
            variable, _, given = value.partition("=")
            environment[variable] = given
    settings = load(Path("config/production.toml"), environment=environment)

    assert [key.get_secret_value() for key in settings.upstream.api_key] == ["secret-upstream_key"]
    assert settings.admin.token.get_secret_value() == "secret-admin_token"
    assert settings.metrics.token.get_secret_value() == "secret-metrics_token"
    assert settings.warnings.secret.get_secret_value() == "secret-webhook_secret"
    assert len(environment) == len(loaded)


def test_what_the_settings_write_to_is_the_unit_s_state_folder() -> None:
    (folder,) = values("StateDirectory")
    settings = load(Path("config/production.toml"), environment={})
    for path in (settings.server.spool_folder, settings.cache.url, settings.state.url):
        assert path.rpartition(":")[2].startswith(f"/var/lib/{folder}/")


def test_a_crash_leaves_no_core_dump() -> None:
    assert values("LimitCORE") == ["0"]
