"""From where pictures may be fetched: named hosts at public addresses, or whole origins."""

from __future__ import annotations

import pytest

from gateway.upstream.rules.picture_hosts import is_public, parse_hosts

HOSTS = parse_hosts(["images.example", "http://127.0.0.1:9000", "https://[::1]:8443"])


@pytest.mark.parametrize(
    ("url", "public_only"),
    [
        ("https://images.example/a.png?sig=1", True),
        ("https://IMAGES.example:443/a.png", True),
        ("http://127.0.0.1:9000/a.png", False),
        ("https://[::1]:8443/a.png", False),
    ],
)
def test_what_is_named_may_be_fetched(url: str, public_only: bool) -> None:
    assert HOSTS.check(url) is public_only


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example/a.png",
        "https://images.example:8443/a.png",
        "https://images.example.evil.example/a.png",
        "https://evil.example/images.example",
        "https://images.example@evil.example/a.png",
        "https://evil@images.example/a.png",
        "https://images.example\\@evil.example/a.png",
        "https://images.example\n.evil.example/",
        "http://127.0.0.1:9001/a.png",
        "http://127.0.0.1/a.png",
        "http://localhost:9000/a.png",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://[::1/a",
        "https://images.example:99999/a",
        "//images.example/a.png",
        "",
        "https://images.example/" + "a" * 9000,
        "https://images.example/a b",
        " https://images.example/",
        "https://images.example%2eevil.example/",
        "https://images%2eexample/",
        "https://images.example./",
        "https://images.exampl\u0435/",
        "http://127.0.0.1:9000@evil.example/",
        "http://0x7f.0.0.1:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "https:images.example/a",
        "https:///images.example/a",
    ],
)
def test_anything_else_may_not_and_it_is_said_why(url: str) -> None:
    with pytest.raises(ValueError, match=r"its URL|not in picture_hosts"):
        HOSTS.check(url)


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.example", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "images.example/a",
     "ftp://images.example", "http://", "http://a:b@images.example/x", "images.example:443"],
)  # fmt: skip
def test_an_entry_that_is_neither_host_nor_origin_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a host"):
        parse_hosts([entry])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
     "64:ff9b:1::1", "2002:7f00:1::", "2001:db8::1", "::127.0.0.1", "fec0::1", "5f00::1",
     "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
)  # fmt: skip
def test_no_other_network_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_the_internet_is(address: str) -> None:
    assert is_public(address)
