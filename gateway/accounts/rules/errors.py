"""Errors of operations on accounts; each message says what to do."""

from __future__ import annotations


class AccountError(Exception):
    """An operation on the organisation, a team, a key or a token is not possible.

    `param` is the field that caused it, if any.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class NotFound(AccountError):
    """There is no such team, key or token."""


class AlreadyExists(AccountError):
    """The name or the secret is in use."""


class AccountEnded(AccountError):
    """The team is archived, or the key or token revoked: it can't be changed."""


class BadValue(AccountError):
    """A value is not valid for its field."""
