"""The gate: refuses an edit while it is still being read, as soon as that can be known."""

from __future__ import annotations

from gateway.model.caller import Caller
from gateway.model.edit import ModelFacts, Route
from gateway.upstream.catalogue import Catalogue
from gateway.upstream.rules import model_catalogue as caps


class EarlyChecks:
    """What a reader asks as a body comes in; each question may raise Refusal."""

    def __init__(self, caller: Caller, catalogue: Catalogue, route: Route) -> None:
        self._caller = caller
        self._catalogue = catalogue
        self._route = route
        self._model = ""
        self._cap: caps.Cap | None = None
        self._reckoned = False

    def model_known(self, model: str) -> None:
        """The model has come: may it be used, can it edit, and how many references?"""
        caps.check_model_allowed(model, self._caller.accounts)
        facts = self._catalogue.facts(model)
        caps.check_model(facts, route=self._route, n=1)
        self._model, self._reckoned = model, False

    def reference_seen(self, count: int) -> None:
        """The head of the count-th reference has come; the model may be yet to come."""
        if not self._reckoned:
            known = self._catalogue.facts(self._model) if self._model else None
            facts = known or self._any_model()
            self._cap = caps.reference_cap(facts, self._caller.accounts)
            self._reckoned = True
        caps.check_references(count, self._cap)

    def _any_model(self) -> ModelFacts:
        listing = self._catalogue.listing
        largest = listing.largest_cap if listing else None
        return ModelFacts("any model", max_reference_images=largest)
