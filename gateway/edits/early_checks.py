"""Early checks: refuse an edit while its body is still being read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from gateway.model.caller import Caller
from gateway.model.edit import ModelFacts, Route
from gateway.telemetry.request_record import RequestRecord
from gateway.upstream.catalogues import Catalogues
from gateway.upstream.rules import model_limits
from gateway.upstream.rules.routing import ModelRoute, Target, usable


@dataclass
class EarlyChecks:
    """Called by the reader for each part. Each check may raise Refusal.

    `model_route` is where the model is bought, once it is known.
    """

    caller: Caller
    catalogues: Catalogues
    route: Route
    record: RequestRecord
    model_route: ModelRoute | None = field(init=False, default=None)
    _model: str = ""
    _cap: model_limits.ReferenceLimit | None = None
    _cap_known: bool = False

    def model_known(self, model: str) -> None:
        """Checks that the caller may use the model, and that it can edit."""
        self._model, self._cap_known = model, False
        self.model_route = self.catalogues.route(model)
        if self.model_route and self.catalogues.is_listed(model):
            self.record.model = self.model_route.targets[0].model  # reports of a refusal name it
        model_limits.check_model_allowed(model, self.caller.accounts)
        if self.model_route:
            usable(self.model_route.targets, partial(self._check, model))

    def _check(self, model: str, target: Target) -> None:
        facts = self.catalogues.facts(target, model)
        model_limits.check_model(facts, route=self.route, n=1)

    def reference_seen(self, count: int) -> None:
        """Checks the number of references so far. The model may not be known yet."""
        if not self._cap_known:
            self._cap = model_limits.reference_limit(self._facts(), self.caller.accounts)
            self._cap_known = True
        model_limits.check_references(count, self._cap)

    def _facts(self) -> ModelFacts | None:
        """The facts of the target that takes most references."""
        if self.model_route is None:
            most = self.catalogues.largest_reference_limit
            return ModelFacts("any model", max_reference_images=most)
        facts = [self.catalogues.facts(each, self._model) for each in self.model_route.targets]
        return max(facts, key=model_limits.most_references)
