"""Early checks: refuse an edit while its body is still being read."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.edit import ModelFacts, Route
from gateway.telemetry.request_record import RequestRecord
from gateway.upstream.model_catalogue import Catalogue
from gateway.upstream.rules import model_limits


@dataclass
class EarlyChecks:
    """Called by the reader for each part. Each check may raise Refusal."""

    caller: Caller
    catalogue: Catalogue
    route: Route
    record: RequestRecord
    _model: str = ""
    _cap: model_limits.ReferenceLimit | None = None
    _cap_known: bool = False

    def model_known(self, model: str) -> None:
        """Checks that the caller may use the model, and that it can edit."""
        if (listing := self.catalogue.listing) and model in listing.items:
            self.record.model = model  # reports of a refusal name it
        model_limits.check_model_allowed(model, self.caller.accounts)
        facts = self.catalogue.facts(model)
        model_limits.check_model(facts, route=self.route, n=1)
        self._model, self._cap_known = model, False

    def reference_seen(self, count: int) -> None:
        """Checks the number of references so far. The model may not be known yet."""
        if not self._cap_known:
            known = self.catalogue.facts(self._model) if self._model else None
            facts = known or self._any_model()
            self._cap = model_limits.reference_limit(facts, self.caller.accounts)
            self._cap_known = True
        model_limits.check_references(count, self._cap)

    def _any_model(self) -> ModelFacts:
        listing = self.catalogue.listing
        largest = listing.largest_reference_limit if listing else None
        return ModelFacts("any model", max_reference_images=largest)
