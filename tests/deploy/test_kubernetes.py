"""The manifests: valid by Kubernetes' own schemas, restricted, and at one with the settings."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from gateway.settings import Settings, SettingsError, load
from tests.deploy import dockerfile
from tests.deploy.manifests import (
    COMPONENTS,
    OVERLAYS,
    ROOT,
    built,
    container,
    one,
    pod,
    settings_text,
    written,
)
from tests.deploy.test_guide import command_of

OF_OPERATORS = {"ServiceMonitor", "HTTPRoute"}
"""Kinds that Kubernetes itself has no schema of."""
OLDEST, NEWEST = "1.30", "1.34"
"""The first that has a preStop `sleep`, and one that is current."""
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def check(document: dict[str, Any], version: str) -> None:
    if document["kind"] not in OF_OPERATORS:
        kubernetes_validate.validate(document, version, strict=True)


@overlays
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_what_is_built_with_every_component_is_valid(overlay: str, version: str) -> None:
    for document in built(overlay):
        check(document, version)


def test_a_word_that_kubernetes_does_not_know_would_be_found() -> None:
    document = one("Deployment", built("many"))
    document["spec"]["template"]["spec"]["containers"][0]["readOnly"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        check(document, NEWEST)


@overlays
def test_a_volume_is_of_one_kind_and_whatever_is_mounted_is_one(overlay: str) -> None:
    """The schemas allow a volume of two kinds, which the API server refuses."""
    volumes = {each["name"]: each.keys() - {"name"} for each in pod(overlay)["volumes"]}
    assert {len(kinds) for kinds in volumes.values()} == {1}
    for each in (container(overlay), *pod(overlay)["initContainers"]):
        assert {mount["name"] for mount in each["volumeMounts"]} == volumes.keys()


@overlays
def test_the_overlay_names_what_it_makes_and_where(overlay: str) -> None:
    documents = built(overlay)
    namespaces = {each["metadata"].get("namespace") for each in documents}
    assert namespaces == {None, "image-edit-gateway"}
    config = one("ConfigMap", documents)["metadata"]["name"]
    assert {"name": "config", "configMap": {"name": config}} in pod(overlay)["volumes"]
    assert config != "gateway-config"  # another content, another name: pods are renewed
    enforced = one("Namespace", documents)["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"


@overlays
def test_the_pod_keeps_the_restricted_standard_and_writes_to_volumes_alone(overlay: str) -> None:
    spec = pod(overlay)
    assert spec["securityContext"]["runAsNonRoot"] is True
    user = spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]
    assert dockerfile.of("USER", 1) == [":".join(map(str, user))]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    for each in (container(overlay), *spec["initContainers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
    assert all(volume.keys() - {"name"} <= allowed for volume in spec["volumes"])


@overlays
def test_each_probe_asks_what_it_is_for(overlay: str) -> None:
    paths = {
        name: container(overlay)[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


@overlays
def test_an_init_container_of_the_same_image_and_state_migrates(overlay: str) -> None:
    (migrate,), main_container = pod(overlay)["initContainers"], container(overlay)
    command, arguments = command_of(migrate["args"])
    assert command.name == "migrate"
    assert {option for each in command.params for option in each.opts} >= set(arguments)
    assert migrate["image"] == main_container["image"]
    assert migrate["volumeMounts"] == main_container["volumeMounts"]
    assert migrate["env"] == main_container["env"][:1]


def test_of_many_no_pod_goes_before_another_is_ready_and_two_are_always_there() -> None:
    documents = built("many")
    strategy = one("Deployment", documents)["spec"]["strategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in one("Deployment", documents)["spec"]
    assert one("HorizontalPodAutoscaler", documents)["spec"]["minReplicas"] == 2
    assert one("PodDisruptionBudget", documents)["spec"]["maxUnavailable"] == 1


def test_the_one_pod_ends_before_the_next_begins_and_keeps_its_volume() -> None:
    documents = built("one")
    spec = one("Deployment", documents)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & {d["kind"] for d in documents}
    claim = one("PersistentVolumeClaim", documents)
    volume = next(each for each in pod("one")["volumes"] if each["name"] == "disk")
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
    assert size > 1.5 * settings_of("one").cache.max_bytes


@overlays
def test_every_selector_finds_the_pods(overlay: str) -> None:
    documents = built(overlay)
    labels = one("Deployment", documents)["spec"]["template"]["metadata"]["labels"]
    selecting = {"Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"}
    for spec in (each["spec"] for each in documents if each["kind"] in selecting):
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector) == labels
    ports = {port["name"]: port["containerPort"] for port in container(overlay)["ports"]}
    assert ports == {"http": 8080}


@overlays
def test_the_network_lets_in_two_namespaces_and_out_what_a_gateway_asks(overlay: str) -> None:
    spec = one("NetworkPolicy", built(overlay))["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    ((source,),) = [rule["from"] for rule in spec["ingress"]]
    (named,) = source["namespaceSelector"]["matchExpressions"]
    assert named["values"] == ["CHANGE-ME-ingress", "CHANGE-ME-monitoring"]
    asked = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert asked == {53, 443} | ({5432} if overlay == "many" else set())


@overlays
def test_ingress_and_route_lead_to_the_service_and_outlast_a_call(overlay: str) -> None:
    documents = built(overlay)
    service, settings = one("Service", documents), settings_of(overlay)
    (port,) = service["spec"]["ports"]
    ingress, route = one("Ingress", documents), one("HTTPRoute", documents)
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "gateway", "port": {"name": port["name"]}}}
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    assert rule.keys() == {"matches", "timeouts", "backendRefs"}
    note = ingress["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/"
    for seconds in (note[f"{prefix}proxy-read-timeout"], *rule["timeouts"].values()):
        assert int(seconds.removesuffix("s")) > settings.upstream.timeout_seconds
    assert int(note[f"{prefix}proxy-body-size"].removesuffix("m")) * 10**6 > (
        settings.limits.max_body_bytes
    )


def test_an_ingress_says_what_the_shipped_nginx_says() -> None:
    conf = Path("deploy/nginx/image-edit-gateway.conf").read_text()
    directives = dict(re.findall(r"^    (\w+) ([^;]+);", conf, re.MULTILINE))
    notes = one("Ingress", built("one"))["metadata"]["annotations"]
    for name, value in notes.items():
        directive = name.partition("/")[2].replace("-", "_")
        directive = {"proxy_body_size": "client_max_body_size"}.get(directive, directive)
        if directive != "ssl_redirect":
            assert directives[directive].removesuffix("s") == value, name


@pytest.mark.parametrize(
    ("overlay", "setting"),
    [
        ("one", "[server] trusted_proxies"),
        ("many", "[server] trusted_proxies"),
        ("many", "[cache] url"),
    ],
)
def test_a_setting_that_nobody_has_changed_is_refused(overlay: str, setting: str) -> None:
    with pytest.raises(SettingsError, match=f"{re.escape(setting)}: is still CHANGE-ME"):
        load(ROOT / "overlays" / overlay / "gateway.toml", environment=unread())


@overlays
def test_what_every_installation_has_of_its_own_says_change_me(overlay: str) -> None:
    documents = built(overlay)
    own = [
        *_secret(overlay).values(),
        container(overlay)["image"],
        one("Ingress", documents)["spec"]["ingressClassName"],
        one("Ingress", documents)["spec"]["rules"][0]["host"],
        *one("HTTPRoute", documents)["spec"]["hostnames"],
        one("HTTPRoute", documents)["spec"]["parentRefs"][0]["name"],
    ]
    assert [text for text in own if "CHANGE-ME" not in text] == []
    assert not re.search(r"example\.com", re.sub(r"\S*CHANGE-ME\S*", "", json.dumps(documents)))


def test_only_the_overlays_name_a_namespace_to_let_in() -> None:
    naming = {
        path.name for path, document in written() if "CHANGE-ME-ingress" in json.dumps(document)
    }
    assert naming == {"namespaces.yaml"}


def test_every_component_is_offered_by_every_overlay() -> None:
    for overlay in OVERLAYS:
        text = (ROOT / "overlays" / overlay / "kustomization.yaml").read_text()
        assert sorted(re.findall(r"\.\./\.\./components/(\w+)", text)) == COMPONENTS


@overlays
def test_its_settings_load_with_what_the_secret_holds(overlay: str, tmp_path: Path) -> None:
    secret = {
        name: value.replace("CHANGE-ME", "Tr0ub4dor") for name, value in _secret(overlay).items()
    }
    folder = next(each for each in container(overlay)["volumeMounts"] if each["name"] == "secrets")
    for name, value in secret.items():
        (tmp_path / name).write_text(value)
    file = tmp_path / "gateway.toml"
    file.write_text(settings_text(overlay).replace(folder["mountPath"], str(tmp_path)))
    settings = load(file, environment={"GATEWAY_PORT": "tcp://10.1.2.3:80"})

    if overlay == "many":
        assert settings.state.url == secret["state_url"]
    assert [key.get_secret_value() for key in settings.upstream.api_key] == [secret["upstream_key"]]
    for given, name in (
        (settings.admin.token, "admin_token"),
        (settings.metrics.token, "metrics_token"),
        (settings.warnings.secret, "webhook_secret"),
    ):
        assert given.get_secret_value() == secret[name]
    disk = next(each for each in container(overlay)["volumeMounts"] if each["name"] == "disk")
    assert settings.server.spool_folder.startswith(f"{disk['mountPath']}/")
    assert str(settings.cache.folder).startswith(f"{disk['mountPath']}/")
    assert settings.server.port == container(overlay)["ports"][0]["containerPort"]


def test_the_disk_of_one_of_many_holds_the_results_and_the_uploads() -> None:
    volume = next(each for each in pod("many")["volumes"] if each["name"] == "disk")
    size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
    requested = container("many")["resources"]["requests"]["ephemeral-storage"]
    max_bytes = settings_of("many").cache.max_bytes
    assert size > 1.5 * max_bytes
    assert int(requested.removesuffix("Gi")) * 2**30 > max_bytes


def settings_of(overlay: str) -> Settings:
    """The settings of the overlay, without its secrets."""
    return load(None, environment=unread(), overrides=_tables(overlay))


def _tables(overlay: str) -> dict[str, Any]:
    return {
        name: {key: value for key, value in table.items() if "file:" not in str(value)}
        for name, table in tomllib.loads(settings_text(overlay)).items()
    }


def _secret(overlay: str) -> dict[str, str]:
    return {
        name: base64.b64decode(value).decode()
        for name, value in one("Secret", built(overlay))["data"].items()
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
