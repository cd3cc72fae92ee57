"""The tokens of one upstream call, by kind."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What an answer's `usage` counts.

    Cached tokens are part of the input tokens of their kind: `cached_text_in` of `text_in`.
    """

    text_in: int = 0
    image_in: int = 0
    cached_text_in: int = 0
    cached_image_in: int = 0
    text_out: int = 0
    image_out: int = 0

    @property
    def total(self) -> int:
        return self.text_in + self.image_in + self.text_out + self.image_out


TOKEN_KINDS = tuple(kind.name for kind in fields(TokenUsage))
NO_TOKENS = TokenUsage()
