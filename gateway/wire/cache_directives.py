"""What a client asks of the cache: `Cache-Control` and `X-Gateway-Variant`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.errors import Refusal

_VARIANT = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Directives:
    """How one request wants to be answered."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_seconds: int | None = None
    variant: str = ""
    retry: bool = False
    """An SDK sends it again by itself: its user asked once."""

    @property
    def text(self) -> str:
        """What of it stands in a `Cache-Control`, in one form: `parse` reads it back."""
        age = self.max_age_seconds
        words = {
            "no-cache": self.no_cache,
            "no-store": self.no_store,
            "only-if-cached": self.only_if_cached,
            f"max-age={age}": age is not None,
        }
        return ", ".join(word for word, asked in words.items() if asked)

    @property
    def may_look(self) -> bool:
        """May a stored result answer this request?"""
        return not (self.no_cache or self.no_store)

    @property
    def may_replace(self) -> bool:
        """May what it buys take the place of a result that was good for others?"""
        return self.no_cache or self.max_age_seconds is not None


_NONE = Directives()


def parse(cache_control: str, variant: str, retry_count: str = "") -> Directives:
    """The directives of a request. Raises Refusal for a variant that can't be one.

    `retry_count` is what OpenAI's SDKs send as `x-stainless-retry-count`. Directives that are
    unknown here are passed over, as RFC 9111 wants.
    """
    if not (cache_control or variant or retry_count):
        return _NONE
    if variant and not _VARIANT.fullmatch(variant):
        raise Refusal(
            "invalid_field",
            "X-Gateway-Variant takes 1 to 64 letters, digits, dots, dashes or underscores.",
            param="X-Gateway-Variant",
        )
    words = [word.strip().lower() for word in cache_control.split(",")]
    ages = [word[8:].strip('"') for word in words if word.startswith("max-age=")]
    return Directives(
        no_cache="no-cache" in words,
        no_store="no-store" in words,
        only_if_cached="only-if-cached" in words,
        max_age_seconds=int(ages[-1]) if ages and re.fullmatch(r"\d{1,9}", ages[-1]) else None,
        variant=variant,
        retry=re.fullmatch(r"0*[1-9]\d{0,5}", retry_count.strip()) is not None,
    )


def check_bypass(directives: Directives, caller: Caller) -> None:
    """Raises Refusal where going round the cache, which costs money, is not allowed.

    A result may be no older than 0 seconds: that goes round it as well.
    """
    if not directives.may_look:
        _refuse_bypass("no-store" if directives.no_store else "no-cache", caller)
    elif directives.max_age_seconds == 0:
        _refuse_bypass("max-age=0", caller)


def check_too_old(directives: Directives, caller: Caller) -> None:
    """Raises Refusal where a stored result is older than `max-age` lets it be served, and buying
    it anew is not allowed.
    """
    if not directives.only_if_cached:
        _refuse_bypass(f"max-age={directives.max_age_seconds}", caller)


def _refuse_bypass(word: str, caller: Caller) -> None:
    for account in caller.accounts:
        if account.limits.may_bypass_cache is False:
            raise Refusal(
                "bypass_not_allowed",
                f"Cache-Control: {word} buys a new picture, which this {account.level} may not "
                "do; leave the header out, or ask whoever runs the gateway.",
                param="Cache-Control",
            )
