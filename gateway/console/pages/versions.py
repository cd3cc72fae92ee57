"""Another version of a picture: the same edit with the next free variant, quoted, then bought."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

from gateway.console.page import Answer, PageRequest, SeeOther
from gateway.console.page_edit import DRY_RUN, make_edit, new_record
from gateway.console.pages.pictures import found_result, path_of, picture_page, versions_of
from gateway.console.payer import PayingKey, payer_of
from gateway.database.ids import new_id
from gateway.edits.quotation import Quotation, Would
from gateway.gallery.rules.sent_edit import KeptInputs, as_form, read_back
from gateway.gallery.tables.gallery import MOST_VERSIONS
from gateway.model.errors import Refusal
from gateway.queries.models.quote import quote_document

_MOST_QUOTES = 20
_VARIANTS = frozenset(map(str, range(2, MOST_VERSIONS + 2)))


async def quote(request: PageRequest) -> Answer:
    """What the next version would cost; the page then offers to buy it."""
    row = await found_result(request)
    body, content_type = await _form(request, row.fingerprint)
    used = {each.variant for each in await versions_of(request, row)}
    free = [each for each in sorted(_VARIANTS, key=int) if each not in used]
    paying = await _payer(request, row.team)
    for variant in free[:_MOST_QUOTES]:
        headers = {"content-type": content_type, "x-gateway-variant": variant, **DRY_RUN}
        record = new_record(request, new_id("req_"))
        found = await make_edit(request, paying, headers, lambda: _once(body), record)
        if isinstance(found, Quotation) and found.would is not Would.HIT:
            return await picture_page(request, quote=quote_document(found), variant=variant)
    raise Refusal("conflict", f"This edit has {MOST_VERSIONS} versions already.")


async def buy(request: PageRequest) -> Answer:
    """Buy the version that was quoted, and show it."""
    row, variant = await found_result(request), request.form.text("variant")
    if variant not in _VARIANTS:
        raise Refusal("invalid_field", "This is no version that was quoted.", "variant")
    body, content_type = await _form(request, row.fingerprint)
    paying, record = await _payer(request, row.team), new_record(request)
    headers = {"content-type": content_type, "x-gateway-variant": variant}
    try:
        await make_edit(request, paying, headers, lambda: _once(body), record)
    except Refusal as refusal:
        failed = request.form.failed(refusal)
        return await picture_page(request, form=failed, status=refusal.status)
    await request.parts.cache.gallery.flush()
    return SeeOther(path_of(record.fingerprint))


async def _payer(request: PageRequest, team: str) -> PayingKey:
    """Raises `permission_denied` for a sandbox key, whose results stand beside no others."""
    paying = await payer_of(request, team)
    if paying.caller.sandbox:
        raise Refusal(
            "permission_denied", "A sandbox key buys no version: sign in with another key."
        )
    return paying


async def _form(request: PageRequest, fingerprint: str) -> tuple[bytes, str]:
    """The edit as it was sent, as a form and its content type."""
    stored = await request.parts.cache.inputs.find(fingerprint)
    kept = await asyncio.to_thread(read_back, stored.body) if stored else KeptInputs((), ())
    if not kept.files:
        raise Refusal(
            "conflict",
            "The pictures that this edit was made of are not kept: try it again with them.",
        )
    boundary = secrets.token_hex(16)
    return as_form(kept, boundary), f"multipart/form-data; boundary={boundary}"


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
