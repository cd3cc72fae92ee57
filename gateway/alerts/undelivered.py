"""What every channel raises where it did not deliver."""

from __future__ import annotations


class Undelivered(Exception):
    """It was not accepted in time. The text has the reason, never a webhook's address.

    `is_final`: another attempt would be refused as well.
    """

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
