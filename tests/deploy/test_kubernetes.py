"""The manifests: valid by Kubernetes' own schemas, restricted, and at one with the settings."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from gateway.settings import load
from tests.deploy.manifests import ROOT, built, container, one, pod, written

OF_OPERATORS = {"ServiceMonitor"}
"""Kinds that Kubernetes itself has no schema of."""
OLDEST, NEWEST = "1.30", "1.34"
"""The first that has a preStop `sleep`, and one that is current."""


def check(document: dict[str, Any], version: str) -> None:
    if document["kind"] not in OF_OPERATORS:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_what_is_written_and_what_is_built_of_it_is_valid(version: str) -> None:
    for document in written():
        check(document, version)
    for document in built():
        check(document, version)


def test_a_word_that_kubernetes_does_not_know_would_be_found() -> None:
    document = one("Deployment")
    document["spec"]["template"]["spec"]["containers"][0]["readOnly"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        check(document, NEWEST)


def test_the_overlay_names_what_it_makes_and_where() -> None:
    documents = built()
    namespaces = {each["metadata"].get("namespace") for each in documents}
    assert namespaces == {None, "image-edit-gateway"}
    config = one("ConfigMap", documents)["metadata"]["name"]
    spec = one("Deployment", documents)["spec"]["template"]["spec"]
    assert {"name": "config", "configMap": {"name": config}} in spec["volumes"]
    assert config != "gateway-config"  # another content, another name: pods are renewed
    enforced = one("Namespace", documents)["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_keeps_the_restricted_standard_and_writes_to_volumes_alone() -> None:
    spec, main = pod(), container()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    allowed = {"configMap", "secret", "emptyDir"}
    assert all(volume.keys() - {"name"} <= allowed for volume in spec["volumes"])


def test_each_probe_asks_what_it_is_for() -> None:
    paths = {
        name: container()[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_no_pod_goes_before_another_is_ready_and_two_are_always_there() -> None:
    assert one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"])
def test_every_selector_finds_the_pods(kind: str) -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    spec = one(kind)["spec"]
    selector = spec.get("podSelector") or spec["selector"]
    assert selector.get("matchLabels", selector) == labels
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"http": 8080}


def test_the_network_lets_in_the_ingress_and_out_what_a_gateway_asks() -> None:
    spec = one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] for rule in spec["ingress"])
    asked = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert asked == {53, 5432, 443}


@pytest.mark.parametrize("place", ["base", "overlays/example"])
def test_its_settings_load_with_what_the_secret_holds(place: str, tmp_path: Path) -> None:
    secret = {name: value.replace("CHANGE-ME", "Tr0ub4dor") for name, value in _secret().items()}
    folder = next(each for each in container()["volumeMounts"] if each["name"] == "secrets")
    for name, value in secret.items():
        (tmp_path / name).write_text(value)
    text = (ROOT / place / "gateway.toml").read_text().replace(folder["mountPath"], str(tmp_path))
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    settings = load(file, environment={"GATEWAY_PORT": "tcp://10.1.2.3:80"})

    assert settings.state.url == secret["state_url"]
    assert [key.get_secret_value() for key in settings.upstream.api_key] == [secret["upstream_key"]]
    for given, name in (
        (settings.admin.token, "admin_token"),
        (settings.metrics.token, "metrics_token"),
        (settings.warnings.secret, "webhook_secret"),
    ):
        assert given.get_secret_value() == secret[name]
    disk = next(each for each in container()["volumeMounts"] if each["name"] == "disk")
    for path in (settings.server.spool_folder, settings.cache.local_folder):
        assert path.startswith(f"{disk['mountPath']}/")
    assert settings.server.port == container()["ports"][0]["containerPort"]


def test_the_pod_s_disk_holds_the_results_and_the_uploads() -> None:
    settings = load(ROOT / "base" / "gateway.toml", environment=unread())
    volume = next(each for each in pod()["volumes"] if each["name"] == "disk")
    size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
    requested = container()["resources"]["requests"]["ephemeral-storage"]
    assert size > 1.5 * settings.cache.max_bytes
    assert int(requested.removesuffix("Gi")) * 2**30 > settings.cache.max_bytes


def _secret() -> dict[str, str]:
    return {
        name: base64.b64decode(value).decode()
        for name, value in one("Secret", built())["data"].items()
    }


def unread() -> dict[str, str]:
    """Every secret given by the environment, so that no file is looked for."""
    return {
        "GATEWAY_UPSTREAM__API_KEY": "x",
        "GATEWAY_STATE__URL": "postgresql://db/x",
        "GATEWAY_ADMIN__TOKEN": "x",
        "GATEWAY_METRICS__TOKEN": "x",
        "GATEWAY_WARNINGS__SECRET": "x",
    }
