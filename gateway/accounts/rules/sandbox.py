"""Sandbox keys: answered by the emulator, and paid for by nobody."""

from __future__ import annotations

from dataclasses import replace

from gateway.accounts.rules.errors import BadValue
from gateway.model.caller import Account, Caller, Limits

_MONEY = (
    "budget_nanos", "paid_images_per_day", "end_user_budget_nanos", "end_user_images_per_day",
)  # fmt: skip


def check_spends_nothing(limits: Limits) -> None:
    """Raises BadValue where a sandbox key is given a limit of money or of pictures bought."""
    for column in _MONEY:
        if getattr(limits, column) is not None:
            name = column.replace("_nanos", "_usd")
            raise BadValue(f"A sandbox key spends nothing: leave out {name}.", name)


def in_sandbox(caller: Caller, requests_per_minute: int) -> Caller:
    """The caller of a sandbox key: the limits on what it may ask for, and a rate of its own."""
    key = caller.key_account
    limits = replace(
        _of_requests(key.limits),
        max_in_flight=key.limits.max_in_flight,
        requests_per_minute=key.limits.requests_per_minute or requests_per_minute,
    )
    return replace(
        caller,
        organisation_account=_without_money(caller.organisation_account),
        team_account=_without_money(caller.team_account),
        key_account=replace(key, limits=limits),
        sandbox=True,
    )


def _without_money(account: Account) -> Account:
    return replace(account, limits=_of_requests(account.limits), paused=False)


def _of_requests(limits: Limits) -> Limits:
    """What a request may contain."""
    return Limits(
        models=limits.models,
        max_reference_images=limits.max_reference_images,
        max_images_per_request=limits.max_images_per_request,
        may_bypass_cache=limits.may_bypass_cache,
    )
