"""What differs between the interfaces that the emulator plays; the default is OpenAI's form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.emulator.answers import with_usage
from gateway.emulator.billing import Bill
from gateway.emulator.catalogue import Model
from gateway.emulator.job import Job
from gateway.emulator.pixels import Encoded
from gateway.emulator.refusals import Refused
from gateway.emulator.request_body import Asked, Route

ModelNamed = Callable[[str], Model]


class Wire(ABC):
    """The interface of one provider: paths, auth, forms, refusals, and what a call costs."""

    base_path: ClassVar[str] = "/v1"
    """What a client's base URL has behind the origin."""
    routes: ClassVar[Mapping[str, Route | None]] = {
        "/v1/images/edits": "edits",
        "/v1/images/generations": "generations",
    }
    """The route of each path; None if the body decides."""
    models_path: ClassVar[str] = "/v1/models"
    """Of the list of models; empty without one."""
    models: ClassVar[tuple[Model, ...]]
    usage_name: ClassVar[str] = "usage"

    @abstractmethod
    async def read(self, request: Request, route: Route | None, model_named: ModelNamed) -> Asked:
        """The request, read and checked. Raises Refused."""

    @abstractmethod
    def bill(self, asked: Asked) -> Bill:
        """What the call costs by the published rates."""

    @abstractmethod
    def document(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> dict[str, object]:
        """A plain answer but for its `usage`; without pictures if the knobs say so."""

    @abstractmethod
    def usage(self, job: Job) -> str:
        """The member `usage_name` as JSON text, or ""; its amounts of money were never floats."""

    @abstractmethod
    def item(self, model: Model) -> dict[str, object]:
        """The model in the list of models."""

    def answer(
        self, job: Job, created: int, pictures: Sequence[Encoded], urls: Sequence[str] | None
    ) -> bytes:
        """The JSON of a plain answer: the pictures, or their addresses where `urls` are given."""
        document = self.document(job, created, pictures, urls)
        return with_usage(document, self.usage(job), self.usage_name)

    def listing(self) -> dict[str, object]:
        return {"object": "list", "data": [self.item(model) for model in self.models]}

    def key(self, headers: Mapping[str, str]) -> str:
        """The key that the caller sent, or ""."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return key if scheme.lower() == "bearer" else ""

    def check(self, asked: Asked) -> None:
        """Raises Refused where the safety system refuses the prompt before any work."""
        if asked.is_blocked:
            raise self.policy_violation()

    def wrong_key(self) -> Refused:
        return Refused(401, "invalid_api_key", "Incorrect API key provided.")

    def no_such_model(self, name: str) -> Refused:
        return Refused(404, "model_not_found", f"The model '{name}' does not exist.", "model")

    def policy_violation(self) -> Refused:
        message = "Your request was rejected as a result of our safety system."
        return Refused(400, "content_policy_violation", message, "prompt")

    def refusal(self, refused: Refused) -> Response:
        """The refusal in the provider's own form."""
        return refused.response()
