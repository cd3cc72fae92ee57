"""What the provider says no with: OpenAI's error envelope."""

from __future__ import annotations

import json

INVALID = "invalid_request_error"
SERVER = "server_error"


class Refused(Exception):
    """A call the provider will not serve; `app.py` makes the HTTP answer of it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after
        """Seconds."""

    def body(self) -> bytes:
        """The envelope as JSON, all four keys present."""
        error = {
            "message": self.message,
            "type": INVALID if self.status < 500 else SERVER,
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}


def bad_field(param: str, message: str) -> Refused:
    """A field's value that can't be honoured."""
    return Refused(400, "invalid_field", message, param)


def told_to_fail(status: int, retry_after: float | None = None) -> Refused:
    """The failure that a knob asks for."""
    message = "The emulator was told to fail."
    return Refused(status, "emulated_failure", message, retry_after=retry_after)
