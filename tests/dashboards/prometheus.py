"""A real Prometheus, as deploy/prometheus configures it, over gateways on this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.serving import Served
from tests.support.waiting import until

SHIPPED = Path("deploy/prometheus")
TOKEN = "metrics-0123456789abcdef"
SCRAPE_SECONDS = 1

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus is not installed",
)

Labels = Mapping[str, str]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its points as (unix seconds, value)."""

    labels: Labels
    points: Points

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass
class Prometheus:
    """How a test asks it; each question is one over the wire."""

    client: httpx.Client

    def instant(self, expr: str, at: float) -> list[Series]:
        """The answer at a moment."""
        data = self._ask("query", query=expr, time=str(at))
        if data["resultType"] == "scalar":
            return [Series({}, [_point(data["result"])])]
        return [Series(each["metric"], [_point(each["value"])]) for each in data["result"]]

    def over_time(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """The answer at every step from start to end."""
        data = self._ask("query_range", query=expr, start=str(start), end=str(end), step=str(step))
        return [
            Series(each["metric"], [_point(value) for value in each["values"]])
            for each in data["result"]
        ]

    def values(self, selector: str, label: str) -> list[str]:
        """The label's values among the series that are selected."""
        found: list[str] = self._ask(f"label/{label}/values", **{"match[]": selector})
        return found

    def rules(self) -> Sequence[Mapping[str, Any]]:
        """The rules that it evaluates, with how they stand."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._ask("targets")["activeTargets"]
        return found

    def _ask(self, path: str, **parameters: str) -> Any:
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def _point(value: Sequence[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])


@contextmanager
def scraping(gateways: Sequence[Served], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that reads these gateways every second, until the end of the block."""
    folder.mkdir()
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={_configured(gateways, folder)}",
             f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
             "--enable-feature=exemplar-storage"],
            stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    client = httpx.Client(base_url=url, timeout=60, trust_env=False)
    prometheus = Prometheus(client)
    try:
        until(lambda: _reads(prometheus, process, len(gateways)), seconds=60)
        yield prometheus
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def _reads(prometheus: Prometheus, process: subprocess.Popen[bytes], gateways: int) -> bool:
    """Are all targets up?"""
    assert process.poll() is None, "prometheus has ended; its log says why"
    try:
        health = [target["health"] for target in prometheus.targets()]
    except (httpx.TransportError, AssertionError):
        return False
    return health == ["up"] * gateways


def _configured(gateways: Sequence[Served], folder: Path) -> Path:
    """The configuration that is shipped, with this machine's addresses, token and pace."""
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    (token := folder / "token").write_text(TOKEN)
    config["global"] = dict.fromkeys(config["global"], f"{SCRAPE_SECONDS}s")
    config["rule_files"] = [str(SHIPPED.resolve() / each) for each in config["rule_files"]]
    (job,) = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(token)
    job["static_configs"] = [{"targets": [each.url.removeprefix("http://") for each in gateways]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def promtool(*arguments: str, given: bytes = b"") -> str:
    """Run promtool, which must be content; gives what it said."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, timeout=120)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
