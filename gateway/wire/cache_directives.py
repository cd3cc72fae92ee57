"""What a request wants of the cache: `X-Gateway-Cache-Control` steers it.

HTTP libraries send a plain `Cache-Control` unasked. What of it would buy again is ignored, unless
`[cache] obey_cache_control` is on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model.caller import Caller
from gateway.model.errors import Refusal

STEERING = "X-Gateway-Cache-Control"
DRY_RUN = "X-Gateway-Dry-Run"
IGNORABLE = ("no-cache", "max-age", "pragma")
"""Parts of a plain header that may be ignored: the labels of `gateway_cache_control_ignored`."""

_HEADERS = (
    STEERING.lower(), "cache-control", "pragma", "x-gateway-variant", "x-stainless-retry-count",
)  # fmt: skip
_STEERS = re.compile(r"no-cache|no-store|only-if-cached|max-age=\d{1,9}")
_MAX_AGE = re.compile(r'max-age="?(\d{1,9})"?')
_VARIANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN_NO_CACHE = "plain no-cache"


@dataclass(frozen=True, slots=True)
class Directives:
    """How one request wants to be answered."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_seconds: int | None = None
    variant: str = ""
    retry: bool = False
    """An SDK's automatic retry: its user asked once."""
    stores: bool = True
    """What it buys may be stored: neither kind of `no-store`."""
    past_failures: bool = False
    """It buys again after a failure that may have been charged. Only `STEERING` can say so."""
    ignored: tuple[str, ...] = ()
    """What of a plain header was ignored, of `IGNORABLE`."""

    @property
    def text(self) -> str:
        """The directives in one form, which `from_text` reads back."""
        age = self.max_age_seconds
        words = {
            "no-cache" if self.past_failures else _PLAIN_NO_CACHE: self.no_cache,
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
        """May its result replace one that others could still use?"""
        return self.no_cache or self.max_age_seconds is not None


NO_DIRECTIVES = Directives()


def parse(headers: Mapping[str, str], caller: Caller, *, obey_plain: bool = False) -> Directives:
    """The directives of a request. Raises Refusal for values that cannot be any.

    A plain header is never refused, nor obeyed for a caller that may not bypass the cache.
    """
    steering, plain, pragma, variant, retries = (headers.get(name, "") for name in _HEADERS)
    if not (steering or plain or pragma or variant or retries):
        return NO_DIRECTIVES
    if variant and not _VARIANT.fullmatch(variant):
        raise Refusal(
            "invalid_field",
            "X-Gateway-Variant takes 1 to 64 letters, digits, dots, dashes or underscores.",
            param="X-Gateway-Variant",
        )
    asked, unasked = _words(steering), _words(plain)
    for word in asked:
        if not _STEERS.fullmatch(word):
            raise Refusal(
                "invalid_field",
                f"{STEERING} takes no-cache, no-store, only-if-cached and max-age=SECONDS, not "
                f"{word[:40]!r}.",
                param=STEERING,
            )
    costly = [word for word in unasked if word == "no-cache" or _MAX_AGE.fullmatch(word)]
    if not unasked and "no-cache" in _words(pragma):
        costly = ["pragma"]
    obeyed = costly if obey_plain and _forbids_bypass(caller) is None else []
    ages = [int(found[1]) for word in (*asked, *obeyed) if (found := _MAX_AGE.fullmatch(word))]
    named = {word.partition("=")[0] for word in costly if word not in obeyed}
    return Directives(
        no_cache="no-cache" in asked or not {"no-cache", "pragma"}.isdisjoint(obeyed),
        no_store="no-store" in asked,
        only_if_cached="only-if-cached" in asked or "only-if-cached" in unasked,
        max_age_seconds=min(ages, default=None),
        variant=variant,
        retry=re.fullmatch(r"0*[1-9]\d{0,5}", retries.strip()) is not None,
        stores="no-store" not in asked and "no-store" not in unasked,
        past_failures="no-cache" in asked,
        ignored=tuple(word for word in IGNORABLE if word in named),
    )


def wants_quote(headers: Mapping[str, str]) -> bool:
    """Is only a quote wanted? Raises Refusal for a value that may mean yes or no."""
    value = headers.get(DRY_RUN.lower(), "").strip().lower()
    if value not in ("", "true", "false"):
        raise Refusal("invalid_field", f"{DRY_RUN} takes true or false.", param=DRY_RUN)
    return value == "true"


def from_text(text: str) -> Directives:
    """The directives of an earlier request, as its `Directives.text` kept them."""
    words = _words(text)
    ages = [int(found[1]) for word in words if (found := _MAX_AGE.fullmatch(word))]
    return Directives(
        no_cache="no-cache" in words or _PLAIN_NO_CACHE in words,
        no_store="no-store" in words,
        only_if_cached="only-if-cached" in words,
        max_age_seconds=min(ages, default=None),
        stores="no-store" not in words,
        past_failures="no-cache" in words,
    )


def _words(header: str) -> list[str]:
    return [word for each in header.split(",") if (word := each.strip().lower())]


def check_bypass(directives: Directives, caller: Caller) -> None:
    """Raises Refusal where bypassing the cache, which costs money, is not allowed.

    `max-age=0` bypasses it too.
    """
    if not directives.may_look:
        _refuse_bypass("no-store" if directives.no_store else "no-cache", caller)
    elif directives.max_age_seconds == 0:
        _refuse_bypass("max-age=0", caller)


def check_too_old(directives: Directives, caller: Caller) -> None:
    """Raises Refusal where a stored result is older than `max-age` permits, and buying it anew is
    not allowed.
    """
    if not directives.only_if_cached:
        _refuse_bypass(f"max-age={directives.max_age_seconds}", caller)


def _refuse_bypass(word: str, caller: Caller) -> None:
    if level := _forbids_bypass(caller):
        raise Refusal(
            "bypass_not_allowed",
            f"{STEERING}: {word} buys a new picture, which this {level} may not do. Leave the "
            "header out, or ask the operator of the gateway.",
            param=STEERING,
        )


def _forbids_bypass(caller: Caller) -> str | None:
    """The level that forbids bypassing the cache."""
    forbidding = (a.level for a in caller.accounts if a.limits.may_bypass_cache is False)
    return next(forbidding, None)
