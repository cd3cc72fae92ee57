"""What an operation on accounts can refuse; each message says what to do about it."""

from __future__ import annotations


class AccountError(Exception):
    """An operation on the organisation, a team, a key or a token that can't be done.

    `param` is the field that it is about, where it is about one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class NotFound(AccountError):
    """There is no such team, key or token."""


class AlreadyExists(AccountError):
    """The name or the secret is taken."""


class AccountEnded(AccountError):
    """The team is archived, or the key or token revoked: it takes no more changes."""


class BadValue(AccountError):
    """A value is not one that this field takes."""
