"""The provider's refusals; a wire gives them its own form, the default is OpenAI's."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response


@dataclass(eq=False)
class Refused(Exception):
    """A call that the provider refuses; `response` has OpenAI's error envelope."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    """Seconds."""
    type: str | None = None

    def __str__(self) -> str:
        return self.message

    def response(self) -> Response:
        error = {
            "message": self.message,
            "type": self.type or ("invalid_request_error" if self.status < 500 else "server_error"),
            "param": self.param,
            "code": self.code,
        }
        return self.as_json({"error": error})

    def as_json(self, document: object) -> Response:
        """This document, with the refusal's status and Retry-After."""
        retry = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        return JSONResponse(document, self.status, retry)

    def body(self) -> bytes:
        return bytes(self.response().body)


def bad_field(param: str, message: str) -> Refused:
    """A value that is not accepted."""
    return Refused(400, "invalid_field", message, param)


def told_to_fail(status: int, retry_after: float | None = None) -> Refused:
    """The failure that a knob asks for."""
    return Refused(status, "emulated_failure", "The emulator was told to fail.", None, retry_after)
