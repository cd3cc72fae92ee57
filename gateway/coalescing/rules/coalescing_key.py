"""What a request may join instead of buying: a flight, a lease, a remembered failure.

`edits.lead_or_follow` applies it to the flights of this process, and `blocking_leases` decides by
it about the leases of all processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.edit import Fingerprint
from gateway.wire.cache_directives import Directives

FRESH = "fresh:"
_UNSHARED = "alone:"


@dataclass(frozen=True, slots=True)
class CoalescingKey:
    """The parts of a request that decide what it shares.

    `key` is the fingerprint's, `extra_digest` too. `fresh`: with `no-cache`. `past_failures`: it
    buys again after a failure. `shared`: others may have the result, so the flight takes a lease.
    `recalls_refusals`: without the directive `no-store`. `retry`: an SDK's automatic one.
    `other_keys` are those of the same edit at other targets: a failure remembered there holds here
    too, and where they are `equivalent`, a flight there is one here.
    """

    key: str
    fresh: bool = False
    shared: bool = True
    recalls_refusals: bool = True
    past_failures: bool = False
    retry: bool = False
    extra_digest: str = ""
    other_keys: tuple[str, ...] = ()
    equivalent: bool = False

    @classmethod
    def of(
        cls,
        fingerprint: Fingerprint,
        directives: Directives,
        other_keys: tuple[str, ...] = (),
        *,
        equivalent: bool = False,
    ) -> CoalescingKey:
        return cls(
            key=fingerprint.key,
            other_keys=other_keys,
            equivalent=equivalent,
            extra_digest=fingerprint.extra_digest,
            fresh=directives.no_cache,
            shared=not (directives.no_store or fingerprint.uncacheable),
            recalls_refusals=not directives.no_store,
            past_failures=directives.past_failures,
            retry=directives.retry,
        )

    def flight_key(self, key_id: str) -> str:
        """The name of the request's own flight. An unshared one is named after the caller too."""
        return self.lease_key if self.shared else f"{_UNSHARED}{key_id}:{self.key}"

    def joinable_flights(self, key_id: str, *, retry: bool) -> list[str]:
        """The names of the flights that the request may join, the preferred one first.

        An unshared request that is repeated wants a second picture, unless it is a retry. A
        plain request may have the result of a fresh flight too.
        """
        own = [self.flight_key(key_id)] if self.shared or retry else []
        return [*own, self.fresh_key] if self.fresh_key else own

    @property
    def lease_key(self) -> str:
        """The key of the lease that its flight takes; empty if it takes none."""
        if not self.shared:
            return ""
        return FRESH + self.key if self.fresh else self.key

    @property
    def fresh_key(self) -> str:
        """The key of the fresh flight whose result it may have as well; empty if none."""
        return FRESH + self.key if self.shared and not self.fresh else ""

    @property
    def watched_keys(self) -> tuple[str, ...]:
        """The keys of the leases that may block it, or whose failure it gets."""
        of_failure = "" if self.past_failures else self.key
        keys = (self.lease_key or self.key, self.fresh_key, of_failure)
        return tuple(dict.fromkeys(filter(None, keys)))

    @property
    def shares_elsewhere(self) -> bool:
        """Is a flight at another target one of this edit?"""
        return self.equivalent and self.shared and bool(self.other_keys)

    @property
    def keys_elsewhere(self) -> tuple[str, ...]:
        """The keys of the leases at other targets that may block it."""
        buys_again = self.fresh and self.past_failures and not self.retry
        plain = () if buys_again else self.other_keys
        in_flight = self.other_keys if self.shares_elsewhere else ()
        return (*plain, *(FRESH + key for key in in_flight))

    def shares_failure(self, code: str, extra_digest: str) -> bool:
        """Does a failure of a request with these extra fields hold for this one too?

        The upstream may have refused an extra field, such as a `user` that it blocks.
        """
        return not is_of_request(code) or extra_digest == self.extra_digest

    def recalls(self, code: str) -> bool:
        """May a remembered failure be given? A refusal is an answer: never with `no-store`."""
        return self.recalls_refusals or not is_refusal(code)


def is_refusal(code: str) -> bool:
    """Is it the upstream's answer to the edit itself, rather than a call that went wrong?"""
    return code == "upstream_refused"


def is_of_request(code: str) -> bool:
    """May extra fields, which are not part of the fingerprint, be its reason?

    Not so for a failure that may have been charged: it is shared to protect the money.
    """
    return is_refusal(code) or code == "upstream_account"
