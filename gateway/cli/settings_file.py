"""The settings file that `gateway init` writes: upstreams from templates, targets of models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.upstream.adapters import ADAPTERS, Endpoint

RESOURCE = "RESOURCE"
"""What stands in a template's address for a name of your own."""


@dataclass(frozen=True, slots=True)
class Template:
    """A service that is sold as an upstream. Without a `base_url`, its API's own one."""

    title: str
    api: str = "openai"
    base_url: str = ""
    key_variable: str = ""
    page: str = ""
    prefix: str = ""
    """What stands before OpenAI's names of models there."""

    @property
    def endpoint(self) -> Endpoint:
        return ADAPTERS[self.api].endpoint

    @property
    def address(self) -> str:
        return self.base_url or self.endpoint.base_url

    @property
    def has_deployments(self) -> bool:
        """Its models are named in the settings, since the API has no list of them."""
        return not self.endpoint.models_path


TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        "deepshi": Template("DeepShi", page="openai"),
        "openai": Template(
            "OpenAI", base_url="https://api.openai.com/v1", key_variable="OPENAI_API_KEY"
        ),
        "azure": Template("Azure OpenAI", api="azure"),
        "openrouter": Template("OpenRouter", api="openrouter", prefix="openai/"),
        "xai": Template("xAI", api="xai"),
        "gemini": Template("Google's Gemini API", api="gemini"),
        "other": Template(
            "another API like OpenAI's",
            base_url=f"https://{RESOURCE}/v1",
            key_variable="UPSTREAM_API_KEY",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class NewUpstream:
    """An upstream to write: its name, where it is, and its models where it has no list of them."""

    name: str
    template: Template
    base_url: str
    models: tuple[str, ...] = ()

    @property
    def key_variable(self) -> str:
        """The variable of its key; of a second one of the same kind, by its own name."""
        known = self.template.key_variable or self.template.endpoint.key_variable
        if self.template is TEMPLATES.get(self.name) and self.name != "other":
            return known
        return f"{self.name.upper().replace('-', '_').replace('.', '_')}_API_KEY"


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model that is bought at these targets, in this order."""

    name: str
    targets: tuple[str, ...]
    equivalent: bool = False


def text_of(upstreams: Sequence[NewUpstream], models: Sequence[NewModel]) -> str:
    """The settings file, with a comment for each thing that is likely to be changed."""
    parts = [_HEAD, *(_upstream(each, alone=len(upstreams) == 1) for each in upstreams)]
    return "\n".join([*parts, *map(_model, models), _TAIL])


_HEAD = """\
# Settings of the image-edit gateway, written by `gateway init`. Every setting that is not here has
# its default: docs/settings.md lists them all. `gateway check` verifies this file.
#
# The environment overrides a setting as GATEWAY_<SECTION>__<NAME>, with two underscores, such as
# GATEWAY_SERVER__PORT=9000. A secret is written as "env:NAME" (a variable) or "file:PATH".

[server]
host = "127.0.0.1"   # "0.0.0.0" listens on every address: then put a proxy with TLS in front
port = 8080
"""

_TAIL = """\
[state]
url = "sqlite:var/gateway.db"   # accounts and ledger; "postgresql://…" for several machines

[cache]
url = "disk:var/cache"   # stored pictures; "s3://BUCKET", "gs://BUCKET" or "az://CONTAINER"
"""


def _upstream(upstream: NewUpstream, *, alone: bool) -> str:
    template = upstream.template
    section = "upstream" if alone else f"upstreams.{upstream.name}"
    variable = f"GATEWAY_{section.upper().replace('.', '__').replace('-', '_')}__API_KEY"
    lines = [f"[{section}]   # {template.title}: docs/upstreams/{template.page or template.api}.md"]
    if alone:
        lines.append(f"name = {_quoted(upstream.name)}   # part of every result's key: keep it")
    if template.api != "openai":
        lines.append(f"api = {_quoted(template.api)}")
    lines.append(f"base_url = {_quoted(upstream.base_url)}")
    lines.append(f'api_key = "env:{upstream.key_variable}"   # {variable} overrides it')
    if upstream.models:
        names = ", ".join(map(_quoted, upstream.models))
        lines.append(f"models = [{names}]   # its deployments: there is no list of them to read")
    return "\n".join([*lines, ""])


def _model(model: NewModel) -> str:
    targets = ", ".join(map(_quoted, model.targets))
    return (
        f"[models.{_quoted(model.name)}]\n"
        f"# Tried in this order; the next one only where the one before certainly bought nothing.\n"
        f"targets = [{targets}]\n"
        f"equivalent = {str(model.equivalent).lower()}   # true: a result of one is a hit for all\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
