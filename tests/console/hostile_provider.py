"""A provider of single sign-on that lies: each test says what its documents and tokens are."""

from __future__ import annotations

import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.console.visiting import Visiting

CLIENT_ID = "gateway"
HS256, NONE = b'{"alg":"HS256","kid":"one"}', b'{"alg":"none","typ":"JWT"}'
Forge = Callable[[dict[str, Any]], str]
"""The claims of an honest token in, a token out."""


@cache
def key(whose: str = "the provider's") -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})


def honest(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key())


def signed_by_another(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key("another's"))


def unsigned(claims: dict[str, Any]) -> str:
    return f"{_text(NONE)}.{honest(claims).split('.')[1]}."


def signed_with_the_public_key(claims: dict[str, Any]) -> str:
    """The confusion of algorithms: HS256, with what everybody knows as its secret."""
    signed = f"{_text(HS256)}.{honest(claims).split('.')[1]}"
    digest = hmac.digest(key().as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{_text(digest)}"


def _text(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


class HostileProvider:
    """Serves on loopback. `forge` makes its ID tokens, `document` is what it says of itself."""

    def __init__(self, now_seconds: Callable[[], int]) -> None:
        self.forge: Forge = honest
        self.document: Mapping[str, Any] = {}
        self.claims: Mapping[str, Any] = {}
        self.moved = ""
        """The path that it redirects to another one of its own, `/inside`."""
        self.codes: set[str] = set()
        self.asked: list[str] = []
        self._now_seconds = now_seconds
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent_back(self, visiting: Visiting, *, next: str = "", **changed: str) -> str:
        """The address to which a browser is sent back after it began to sign in."""
        away = visiting.get("/console/sso", params={"next": next} if next else {})
        asked = {
            name: each[0]
            for name, each in parse_qs(urlsplit(away.headers["location"]).query).items()
        }
        code = f"code-{len(self.codes)}"
        self.codes.add(code)
        self.claims = {
            "iss": self.issuer,
            "sub": "1001",
            "aud": asked["client_id"],
            "exp": self._now_seconds() + 300,
            "iat": self._now_seconds(),
            "nonce": asked["nonce"],
            "email": "ada@example.com",
            "groups": ["admins"],
        }
        self.challenge = asked["code_challenge"]
        query = {"code": code, "state": asked["state"], "iss": self.issuer, **changed}
        return str(visiting.build_request("GET", "/console/sso/back", params=query).url)

    def answer(self, method: str, path: str, form: Mapping[str, list[str]]) -> tuple[int, Any]:
        self.asked.append(path)
        if path == self.moved:
            return 307, {}
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                **self.document,
            }
        if path == "/keys":
            return 200, {"keys": [key().as_dict(private=False)]}
        code = form.get("code", [""])[0]
        if path != "/token" or code not in self.codes:
            return 400, {"error": "invalid_grant"}
        self.codes.discard(code)
        return 200, {
            "token_type": "Bearer",
            "access_token": "a",
            "id_token": self.forge(dict(self.claims)),
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self._answer(parse_qs(body.decode()))

            def _answer(self, form: Mapping[str, list[str]]) -> None:
                status, document = provider.answer(self.command, urlsplit(self.path).path, form)
                body = json.dumps(document).encode()
                self.send_response(status)
                if status == 307:
                    self.send_header("location", f"{provider.issuer}/inside")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """A test's output is its own."""

        return Handler
