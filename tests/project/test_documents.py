"""What the documents say of the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.api.openapi.document import document
from gateway.database.copying import tables_of
from gateway.database.migrate import known_migrations
from gateway.model.errors import KINDS
from gateway.pricing.price_file import parse_prices
from gateway.runtime.backends import open_prices
from gateway.settings import Settings, load
from gateway.upstream.adapters import ADAPTERS
from tests.support.documents import DOCS, PAGES, metrics_page
from tests.support.exposition import scrape
from tests.support.serving import Running

DOCUMENTS = [
    *map(Path, ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "tests/benchmarks/README.md")),
    *sorted(DOCS.glob("**/*.md")),
    *sorted(Path("deploy").glob("*.md")),
]
MOST_LINES = {Path("README.md"): 200, Path("ARCHITECTURE.md"): 250}
_BLOCK = re.compile(r"```toml\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:\.\./)?(?:gateway|tests|docs|deploy|config)/[\w./-]*)`")


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_page_is_as_the_code_makes_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "run `make docs`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(path: Path) -> None:
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        if file.startswith("http"):
            continue
        target = (path.parent / file) if file else path
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_path_that_a_document_names_is_there(path: Path) -> None:
    named = _PATH.findall(path.read_text(encoding="utf-8"))

    assert [each for each in named if not Path(each).exists()] == []


@pytest.mark.parametrize("path", MOST_LINES, ids=str)
def test_a_document_that_is_read_whole_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES[path]


BLOCKS = [
    pytest.param(path, block, id=f"{path}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8")), 1)
]
OUT_OF_A_COMMENT = re.compile(r"^# (\w+ = )", re.MULTILINE)
UPSTREAMS = {"upstreams": {"azure": {"api": "azure", "models": ["img-prod"]}}}


@pytest.mark.parametrize(("path", "block"), BLOCKS)
def test_every_configuration_in_a_document_is_one(path: Path, block: str, tmp_path: Path) -> None:
    """Also with the settings that it shows as comments."""
    file = tmp_path / "gateway.toml"
    for text in (block, OUT_OF_A_COMMENT.sub(r"\1", block)):
        if text.startswith("version ="):
            assert parse_prices(text).prices
            continue
        file.write_text(text)
        named = "[upstream" in text or "[prices.targets" not in text
        settings = load(file, environment={}, overrides={} if named else UPSTREAMS)
        if path.parent.name == "upstreams" and path.stem in ADAPTERS:
            assert settings.upstream.api == path.stem
            assert settings.upstream.name == path.stem
            open_prices(settings)


@pytest.mark.parametrize("api", ADAPTERS)
def test_the_page_of_an_adapter_says_its_sources_and_what_was_not_tried(api: str) -> None:
    page = (DOCS / "upstreams" / f"{api}.md").read_text(encoding="utf-8")
    sources = re.findall(r"^\| .+ \| (\d{4}\S*) \| .+ \|$", page, re.MULTILINE)
    assert sources
    assert "```toml\n[upstream]\n" in page
    assert "Not tried against the real service: " in page


def test_the_index_leads_to_every_page() -> None:
    linked = set(_LINK.findall((DOCS / "README.md").read_text(encoding="utf-8")))

    assert {each.name for each in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_the_retention_page_names_every_table_of_the_state_and_the_defaults() -> None:
    page = (DOCS / "retention.md").read_text(encoding="utf-8")
    state = page.partition("## The state")[2].partition("## Elsewhere")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", state, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {table.name for table in tables_of(known_migrations())} | {"schema_migrations"}
    settings = Settings()
    for section, name, value in re.findall(r"`\[(\w+)\] (\w+)` \((\d+)", page):
        read = getattr(getattr(settings, section), name)
        assert int(value) in (read, read / 86_400), name


HTTP = (DOCS / "http.md").read_text(encoding="utf-8")


def test_the_http_page_has_every_error_code_with_its_status_and_its_retry_rule() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+|the upstream's) \| (.+?) \|", HTTP, re.MULTILINE)
    listed = {code: (status, retry) for code, status, retry in rows}
    stated = {code: (str(kind.status), kind.retry.value) for code, kind in KINDS.items()}
    stated["upstream_refused"] = ("the upstream's", "as the upstream says")

    assert listed == stated


def test_the_http_page_has_every_route_and_header_of_the_openapi_document() -> None:
    described = document(Settings.model_validate({"admin": {"token": "a" * 32}}))
    paths, components = described["paths"], described["components"]
    assert isinstance(paths, dict)
    assert isinstance(components, dict)
    for path, operations in paths.items():
        for method in operations:
            route = f"{method.upper()} {path.removeprefix('/admin/v1')}"
            assert f"`{route}`" in HTTP, route
    for header in components["headers"]:
        assert f"`{header}`" in HTTP, header


def test_every_metric_that_is_shown_is_on_the_page_with_its_type(gateway: Running) -> None:
    gateway.edit()
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+)", metrics_page(), re.MULTILINE))
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(scrape(gateway, after=1))
        if family.name.startswith("gateway_")
    }

    assert len(shown) > 40
    assert shown.items() <= listed.items()
