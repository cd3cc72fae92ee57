"""Single sign-on by OpenID Connect: the authorization code flow with PKCE.

Tokens are read once and kept by nobody: the session that follows is the console's own.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gateway.console.rules.person_roles import Person, person_of
from gateway.console.rules.sign_in_attempt import SignInAttempt
from gateway.settings import SsoSettings
from gateway.upstream.document_fetcher import DocumentFetcher, DocumentNotFetched

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Asymmetric ones only: a secret that the client has too proves nothing of the provider."""
LEEWAY_SECONDS = 60
METADATA_SECONDS = 3600
_DISCOVERY = "/.well-known/openid-configuration"


class NotSignedIn(Exception):
    """The provider, or its answer, is not as it must be; the text says how."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    takes_basic: bool
    """Does its token endpoint take the client's secret in an `Authorization` header?"""
    read_ms: int


class OidcProvider:
    """The provider. `redirect_uri` is where it sends people back to."""

    def __init__(self, settings: SsoSettings, redirect_uri: str, tls: ssl.SSLContext) -> None:
        self._settings, self._redirect_uri = settings, redirect_uri
        parts = urlsplit(settings.issuer)
        self._fetcher = DocumentFetcher(origin=f"{parts.scheme}://{parts.netloc}".lower(), tls=tls)
        self._metadata: Metadata | None = None

    @property
    def issuer(self) -> str:
        return self._settings.issuer

    async def authorization_url(self, attempt: SignInAttempt, now_ms: int) -> str:
        """Where the browser goes to sign in. Raises NotSignedIn."""
        endpoint = (await self._about_provider(now_ms)).authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": await asyncio.to_thread(_challenge_of, attempt.verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def sign_out_url(self, back_to: str, now_ms: int) -> str:
        """Where the browser ends its session at the provider; "" where there is no such page."""
        try:
            endpoint = (await self._about_provider(now_ms)).end_session_endpoint
        except NotSignedIn:
            return ""
        query = {"client_id": self._settings.client_id, "post_logout_redirect_uri": back_to}
        return endpoint and f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def person(self, code: str, attempt: SignInAttempt, now_ms: int) -> Person:
        """The person to whom the provider gave this code. Raises NotSignedIn."""
        metadata = await self._about_provider(now_ms)
        try:
            tokens = await self._exchange(metadata, code, attempt.verifier)
            keys = await self._fetcher.get(metadata.jwks_uri)
        except DocumentNotFetched as failure:
            raise NotSignedIn(str(failure)) from failure
        claims = await asyncio.to_thread(self._verified, tokens, keys, attempt.nonce, now_ms)
        return person_of(claims, self._settings.name_claim, self._settings.roles_claim)

    async def _exchange(self, metadata: Metadata, code: str, verifier: str) -> Mapping[str, Any]:
        """The tokens for a code, which is good for one exchange. Raises DocumentNotFetched."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
            "client_id": self._settings.client_id,
        }
        headers: dict[str, str] = {}
        secret = self._settings.client_secret.get_secret_value()
        if secret and metadata.takes_basic:
            pair = f"{quote(form.pop('client_id'), safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        elif secret:
            form["client_secret"] = secret
        return await self._fetcher.post(metadata.token_endpoint, form, headers)

    def _verified(
        self, tokens: Mapping[str, Any], keys: dict[str, Any], nonce: str, now_ms: int
    ) -> Mapping[str, Any]:
        """The claims of the ID token, all of it checked. Raises NotSignedIn."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            token = jwt.decode(
                str(tokens.get("id_token", "")),
                KeySet.import_key_set(_signing_keys(keys)),
                algorithms=ALGORITHMS,
            )
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                    "nonce": {"essential": True, "value": nonce},
                    "sub": {"essential": True},
                },
                params={
                    "nonce": nonce,
                    "client_id": self._settings.client_id,
                    "access_token": tokens.get("access_token"),
                },
            )
            claims.validate(now_ms // 1000, LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise NotSignedIn(f"its ID token is not valid: {type(error).__name__}") from error
        return dict(claims)

    async def _about_provider(self, now_ms: int) -> Metadata:
        """What it says of itself, read once an hour. Raises NotSignedIn."""
        known = self._metadata
        if known is None or now_ms - known.read_ms > METADATA_SECONDS * 1000:
            try:
                document = await self._fetcher.get(
                    f"{self._settings.issuer.rstrip('/')}{_DISCOVERY}"
                )
            except DocumentNotFetched as failure:
                raise NotSignedIn(str(failure)) from failure
            self._metadata = known = self._checked(document, now_ms)
        return known

    def _checked(self, document: Mapping[str, Any], now_ms: int) -> Metadata:
        if document.get("issuer") != self._settings.issuer:
            raise NotSignedIn(
                f"it calls itself {str(document.get('issuer'))[:200]!r}, which is not [sso] issuer"
            )
        found = {}
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            found[name] = str(document.get(name, ""))
            self._check_url(name, found[name])
        ending = str(document.get("end_session_endpoint", ""))
        if ending:
            self._check_url("end_session_endpoint", ending)
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return Metadata(
            **found,
            end_session_endpoint=ending,
            takes_basic="client_secret_basic" in methods,
            read_ms=now_ms,
        )

    def _check_url(self, name: str, url: str) -> None:
        parts, own = urlsplit(url), urlsplit(self._settings.issuer)
        is_own = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
        if not parts.hostname or not (is_own or parts.scheme == "https"):
            raise NotSignedIn(f"its {name} is no https URL")


def _challenge_of(verifier: str) -> str:
    # Imported with the first sign-in, on a thread: it takes half a second.
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    challenge: str = create_s256_code_challenge(verifier)
    return challenge


def _signing_keys(document: dict[str, Any]) -> Any:
    """The asymmetric keys for signatures; those of kinds that are not known are left out."""
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ValueError("no keys")
    return {
        "keys": [
            key
            for key in keys
            if isinstance(key, dict)
            and key.get("kty") in ("RSA", "EC", "OKP")
            and key.get("use", "sig") == "sig"
        ]
    }
