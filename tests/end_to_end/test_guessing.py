"""Who guesses at keys is slowed down by address, and no header of a guesser's changes that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from gateway.accounts.rules.guess_throttle import MOST_FAILURES
from gateway.emulator import EmulatorServer
from gateway.settings import SettingsError, load
from tests.support.serving import Overrides, Running, make_key, serving, settings_for

GUESSER, OTHER = "203.0.113.1", "203.0.113.2"


def codes(gateway: Running, forwarded: Iterable[str], key: str = "sk-guess") -> list[str]:
    """What each of these requests is refused with, by what it says where it comes from."""
    with gateway.client(key) as client:
        answers = [client.get("/v1/models", headers=_said(address)) for address in forwarded]
    return [_code(answer) for answer in answers]


def _said(address: str) -> list[tuple[str, str]]:
    """A header for each line of `address`: proxies add lines of their own, or to the last one."""
    return [("x-forwarded-for", line) for line in address.splitlines()]


def _code(answer: httpx.Response) -> str:
    return "" if answer.is_success else str(answer.json()["error"]["code"])


@pytest.fixture
def proxied(tmp_path: Path, emulator: EmulatorServer) -> Iterable[Running]:
    """A gateway behind a proxy on this machine and another in 10.0.0.0/24."""
    proxies = {"trusted_proxies": ["127.0.0.1", "10.0.0.0/24"]}
    settings = settings_for(tmp_path, emulator, {"server": proxies})
    make_key(settings)
    with serving(settings) as gateway:
        yield gateway


def test_without_a_trusted_proxy_nobody_is_believed_where_it_comes_from(gateway: Running) -> None:
    addresses = [f"198.51.100.{number}" for number in range(MOST_FAILURES + 1)]
    told = codes(gateway, addresses)

    assert told == ["invalid_api_key"] * MOST_FAILURES + ["too_many_failures"]
    assert codes(gateway, [""]) == ["too_many_failures"], "they were all one address"


def test_behind_a_trusted_proxy_guessers_are_told_apart(proxied: Running) -> None:
    told = codes(proxied, [GUESSER] * (MOST_FAILURES + 1))

    assert told == ["invalid_api_key"] * MOST_FAILURES + ["too_many_failures"]
    assert codes(proxied, [OTHER]) == ["invalid_api_key"]


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("198.51.100.{n}, " + GUESSER, id="put before by the client"),
        pytest.param("198.51.100.{n}\n" + GUESSER, id="in a header of its own"),
        pytest.param("198.51.100.{n}, " + GUESSER + ", 10.0.0.7", id="through two proxies"),
        pytest.param("10.0.0.{n}, " + GUESSER + ", 10.0.0.7", id="as a proxy that is trusted"),
        pytest.param("made up {n}, " + GUESSER, id="as no address at all"),
    ],
)
def test_the_last_hop_that_is_no_trusted_proxy_counts(proxied: Running, forged: str) -> None:
    told = codes(proxied, [forged.format(n=number) for number in range(MOST_FAILURES + 1)])

    assert told == ["invalid_api_key"] * MOST_FAILURES + ["too_many_failures"]
    assert codes(proxied, [GUESSER]) == ["too_many_failures"]
    assert codes(proxied, [OTHER]) == ["invalid_api_key"]


def test_names_of_hops_that_are_made_up_are_one(proxied: Running) -> None:
    told = codes(proxied, [f"guess-{number}" for number in range(MOST_FAILURES + 1)])

    assert told[-1] == "too_many_failures"


def test_a_key_that_is_valid_opens_from_a_guesser_s_address_too(proxied: Running) -> None:
    codes(proxied, [GUESSER] * (MOST_FAILURES + 1))

    assert codes(proxied, [GUESSER], key="sk-test-0123456789abcdef") == [""]


def test_guesses_count_on_every_route_alike(proxied: Running) -> None:
    half = MOST_FAILURES // 2
    codes(proxied, [GUESSER] * half)
    with proxied.client("sk-guess") as client:
        told = [
            _code(client.post("/v1/images/edits", headers=_said(GUESSER), content=b"x"))
            for _ in range(half + 1)
        ]

    assert told[-2:] == ["invalid_api_key", "too_many_failures"]


def test_guesses_at_the_token_of_the_metrics_are_told_apart_too(
    tmp_path: Path, emulator: EmulatorServer
) -> None:
    more: Overrides = {
        "server": {"trusted_proxies": ["127.0.0.1"]},
        "metrics": {"token": "mt-1"},
    }
    with (
        serving(settings_for(tmp_path, emulator, more)) as gateway,
        gateway.client("mt-guess") as guesser,
        gateway.client("mt-1") as scraper,
    ):
        told = [
            _code(guesser.get("/metrics", headers=_said(GUESSER))) for _ in range(MOST_FAILURES + 1)
        ]
        assert told == ["permission_denied"] * MOST_FAILURES + ["too_many_failures"]
        assert _code(guesser.get("/metrics", headers=_said(OTHER))) == "permission_denied"
        assert _code(scraper.get("/metrics", headers=_said(GUESSER))) == "too_many_failures"
        assert _code(scraper.get("/metrics", headers=_said(OTHER))) == ""


@pytest.mark.parametrize("proxy", ["*", "localhost", "10.0.0.5/8", "10.0.0", ""])
def test_a_proxy_is_named_by_its_address_alone(proxy: str) -> None:
    with pytest.raises(SettingsError, match="is not an address"):
        load(environment={}, overrides={"server": {"trusted_proxies": [proxy]}})
