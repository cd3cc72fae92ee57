"""Single sign-on: to the provider, and back."""

from __future__ import annotations

from gateway.console.oidc import NotSignedIn, OidcProvider
from gateway.console.page import Answer, PageRequest, SeeOther, SeeProvider
from gateway.console.pages.sign_in import path_after
from gateway.console.rules.sign_in_attempt import begin_attempt, resume_attempt
from gateway.model.errors import Refusal


async def begin(request: PageRequest) -> Answer:
    """Send the browser to the provider."""
    provider, now_ms = _provider_of(request), request.context.clock()
    cookie = request.visit.cookie
    attempt = begin_attempt(cookie, path_after(request.query.get("next", "")), now_ms)
    try:
        return SeeProvider(await provider.authorization_url(attempt, now_ms), cookie)
    except NotSignedIn as failure:
        raise _failed(request, failure) from failure


async def finish(request: PageRequest) -> Answer:
    """Sign in the person with whom the provider has sent the browser back."""
    provider, now_ms, query = _provider_of(request), request.context.clock(), request.query
    throttle, address = request.sessions.throttle, request.exchange.address
    throttle.check(address, now_ms)
    attempt = resume_attempt(request.visit.cookie, query.get("state", ""), now_ms)
    if attempt is None:
        raise Refusal(
            "permission_denied",
            "This sign-in was not begun in this browser, or more than ten minutes ago: begin "
            "again at /console.",
        )
    try:
        if error := query.get("error"):
            raise NotSignedIn(f"it says {error[:80]!r}")
        if query.get("iss", provider.issuer) != provider.issuer:
            raise NotSignedIn("the answer is another provider's")
        person = await provider.person(query.get("code", ""), attempt, now_ms)
    except NotSignedIn as failure:
        throttle.failed(address, now_ms)
        raise _failed(request, failure) from failure
    begun = await request.sessions.begin_person(person, request.visit)
    return SeeOther(attempt.path, cookie=begun.cookie)


def _provider_of(request: PageRequest) -> OidcProvider:
    """Raises `not_found` where single sign-on is off."""
    if request.sessions.provider is None:
        raise Refusal("not_found", "Single sign-on is off here: [sso] issuer is not set.")
    return request.sessions.provider


def _failed(request: PageRequest, failure: NotSignedIn) -> Refusal:
    request.context.log.warning("single sign-on failed", detail=str(failure))
    settings = request.context.settings.sso
    return Refusal(
        "permission_denied",
        f"Signing in with {settings.name} failed: {failure}. Begin again at /console, or ask "
        f"{settings.contact}.",
    )
