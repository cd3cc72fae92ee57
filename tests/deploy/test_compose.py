"""The compose file: valid, hardened, and at one with the settings and the other files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from gateway.settings import load

FILE = Path("deploy/compose.yaml")
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
PUBLISHED = {"gateway", "grafana"}


def test_it_is_a_compose_file_without_an_unknown_word() -> None:
    PyCompose.from_json(json.dumps(DOCUMENT)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_kept_small(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert not service.get("privileged")
    digest = r"@sha256:[0-9a-f]{64}$"
    assert "build" in service or re.search(digest, service["image"]), "an image has a digest"


def test_a_crash_of_the_gateway_leaves_no_core_dump() -> None:
    assert SERVICES["gateway"]["ulimits"]["core"] == 0


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_gateway_and_grafana_are_published_and_on_this_machine_alone(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name in PUBLISHED)
    assert all(port.startswith("127.0.0.1:") for port in ports)
    if name not in PUBLISHED:
        assert "front" not in SERVICES[name].get("networks", [])


def test_whoever_waits_waits_for_health_or_for_an_end() -> None:
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"
            else:
                assert wait["condition"] == "service_healthy"
                assert "healthcheck" in SERVICES[other] or "build" in SERVICES[other]


def test_secrets_are_files_that_are_never_committed() -> None:
    declared = DOCUMENT["secrets"]
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == declared.keys()
    assert all(each["file"].startswith("./secrets/") for each in declared.values())
    ignored = Path(".gitignore").read_text().split()
    assert {"deploy/secrets/", "deploy/.env"} <= set(ignored)
    # What is in the environment is a file's name or is given by deploy/.env.
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|_KEY|STATE__URL", name):
                assert re.match(r"file:/run/secrets/|/run/secrets/|\$\{OBJECTS_", value), name


def test_the_gateway_starts_with_what_compose_gives_it(tmp_path: Path) -> None:
    gateway = SERVICES["gateway"]
    environment = {}
    for name, value in gateway["environment"].items():
        if value.startswith("file:/run/secrets/"):
            secret = value.rpartition("/")[2]
            assert secret in gateway["secrets"]
            text = "postgresql://gateway:p@database/gateway" if secret == "state_url" else secret
            (tmp_path / secret).write_text(f"{text}\n")
            value = f"file:{tmp_path / secret}"
        environment[name] = value
    settings = load(Path("config/production.toml"), environment=environment)

    assert settings.state.url == "postgresql://gateway:p@database/gateway"
    assert settings.metrics.token.get_secret_value() == "metrics_token"
    assert [key.get_secret_value() for key in settings.upstream.api_key] == ["upstream_key"]
    assert settings.warnings.secret.get_secret_value() == "webhook_secret"
    subnet = DOCUMENT["networks"]["front"]["ipam"]["config"][0]
    assert settings.server.trusted_proxies == (subnet["gateway"],)
    # The bucket that is made is the one that is used, at the port that is listened on.
    bucket = re.match(r"s3://(\w+)/\S*endpoint=http://objects(:\d+)&", settings.cache.url)
    assert bucket
    assert f"/data/{bucket[1]}" in " ".join(SERVICES["bucket"]["command"])
    assert bucket[2] in SERVICES["objects"]["command"]


def test_what_is_mounted_is_beside_the_file() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert volume.endswith(":ro")
            else:
                assert source in DOCUMENT["volumes"]


def test_prometheus_and_grafana_find_what_is_mounted() -> None:
    prometheus, grafana = SERVICES["prometheus"], SERVICES["grafana"]
    config = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_token"
    assert "metrics_token" in prometheus["secrets"]
    assert job["static_configs"] == [{"targets": ["gateway:8080"]}]
    assert config["rule_files"] == ["rules/*.yml"]
    assert list(_mounted(prometheus, "/etc/prometheus/rules").glob("*.yml"))

    provisioning = _mounted(grafana, "/etc/grafana/provisioning")
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"].startswith("http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards/gateway.yml").read_text())["providers"]
    assert list(_mounted(grafana, provider["options"]["path"]).glob("*.json"))


def _mounted(service: dict[str, Any], target: str) -> Path:
    """The folder beside the file that lies there in the container."""
    volumes: list[str] = service["volumes"]
    (source,) = [each.partition(":")[0] for each in volumes if each.endswith(f":{target}:ro")]
    return FILE.parent / source
