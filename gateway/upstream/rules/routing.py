"""Routing: at which upstreams a model is bought, and under which name there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.model.errors import Refusal

Candidate = TypeVar("Candidate")
Listings = Mapping[str, Collection[str] | None]
"""By upstream, in order: the models of its last good catalogue; None where it never had one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model at one upstream, which calls it `name`.

    `model` is the model that it stands under: the ledger's name of it, and that of its price.
    """

    upstream: str
    name: str
    model: str

    @classmethod
    def parse(cls, text: str, model: str) -> Target:
        """A target as in the settings, such as "azure/img-prod"."""
        upstream, _, name = text.partition("/")
        return cls(upstream, name, model)

    def __str__(self) -> str:
        return f"{self.upstream}/{self.name}"


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """The targets of a model, in the order in which they are tried.

    `equivalent`: a stored result of any target is a hit for all of them.
    """

    targets: tuple[Target, ...]
    equivalent: bool = False


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes of the models whose settings name targets, and the aliases of models."""

    routes: Mapping[str, ModelRoute] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def route(self, asked: str, listings: Listings) -> ModelRoute | None:
        """Where a model, or an alias of one, is bought; None where no upstream has it.

        Without targets that is the first upstream that lists it. What none lists may exist at an
        upstream that has never had a catalogue.
        """
        model = self.aliases.get(asked, asked)
        if route := self.routes.get(model):
            return route
        unknown = (upstream for upstream, models in listings.items() if models is None)
        upstream = next(iter(_listing(model, listings)), None) or next(unknown, None)
        if upstream is None:
            return None
        return ModelRoute((self.target(upstream, model),))

    def target(self, upstream: str, name: str) -> Target:
        """What an upstream calls by this name: a target of the settings, or a model of its own."""
        every = (target for route in self.routes.values() for target in route.targets)
        named = (each for each in every if (each.upstream, each.name) == (upstream, name))
        return next(named, None) or Target(upstream, name, name)

    def names(self, listings: Listings) -> Iterator[str]:
        """Every name under which a model can be asked for."""
        listed = (name for models in listings.values() for name in models or ())
        for name in dict.fromkeys((*self.routes, *listed, *self.aliases)):
            if self.route(name, listings):
                yield name

    def conflicts(self, listings: Listings) -> Iterator[str]:
        """What of the settings does not fit the catalogues; a line each, with the remedy."""
        listed = dict.fromkeys(name for models in listings.values() for name in models or ())
        for model in listed:
            upstreams = _listing(model, listings)
            if len(upstreams) > 1 and model not in self.routes.keys() | self.aliases.keys():
                yield (
                    f"{model} is at {' and '.join(upstreams)}, and bought at {upstreams[0]}: set "
                    f'targets in [models."{model}"]'
                )
        for alias, model in self.aliases.items():
            if alias in listed or alias in self.routes:
                yield f"{alias} is a model, and an alias of {model}: it is bought as {model}"
        for route in self.routes.values():
            for target in route.targets:
                models = listings.get(target.upstream)
                if models is not None and target.name not in models:
                    missing = f"{target.upstream} does not list {target.name}"
                    yield f"{missing}, a target of {target.model}"


def usable(
    candidates: Iterable[Candidate], check: Callable[[Candidate], None]
) -> Sequence[Candidate]:
    """The candidates that pass the check. Raises the first one's refusal where none does."""
    passed, refusals = [], []
    for candidate in candidates:
        try:
            check(candidate)
        except Refusal as refusal:
            refusals.append(refusal)
        else:
            passed.append(candidate)
    if not passed:
        raise refusals[0]
    return passed


def _listing(model: str, listings: Listings) -> list[str]:
    """The upstreams that list the model."""
    return [upstream for upstream, models in listings.items() if models and model in models]
