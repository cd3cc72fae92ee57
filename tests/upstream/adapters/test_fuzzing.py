"""Whatever an upstream answers, in any API: it is read, or refused; never an amount below 0."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.edit import AdapterFacts
from gateway.upstream.adapters import ADAPTERS
from gateway.upstream.client import CatalogueUnavailable, UpstreamClient
from gateway.upstream.rules.catalogue_parser import parse
from gateway.upstream.rules.refusals import (
    account_code,
    refusal_in_answer,
    refusal_of_answer,
    with_likely_setting,
)
from gateway.wire.answer import read_answer

NAMES = st.sampled_from(
    [
        "data", "b64_json", "url", "usage", "cost", "total_cost", "input_tokens", "output_tokens",
        "total_tokens", "prompt_tokens", "completion_tokens", "input_tokens_details",
        "output_tokens_details", "text_tokens", "image_tokens", "cached_tokens",
        "cost_in_usd_ticks", "candidates", "content", "parts", "inlineData", "thought",
        "usageMetadata", "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount",
        "promptTokensDetails", "candidatesTokensDetails", "modality", "tokenCount",
        "promptFeedback", "blockReason", "finishReason", "error", "message", "type", "code",
        "status", "details", "param", "models", "name", "id", "supported_parameters",
        "input_references", "n", "max", "edit", "supported", "max_n",
    ]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.sampled_from([10**30, -1, 0, 1e308, float("nan"), float("inf"), 0.1]),
    st.text(max_size=20),
    st.sampled_from(
        ["iVBORw0KGgo=", "IMAGE", "0.04", "-1", "API_KEY_INVALID", "insufficient_quota",
         "\0", "\ud800",
         "gpt-image-1", "grok-imagine-image", "models/gemini-2.5-flash-image", "x" * 2_000]
    ),
)  # fmt: skip
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
SHAPES = st.sampled_from(
    [
        {"data": [{"b64_json": "iVBORw0KGgo="}], "usage": {"cost": {"total_cost": 0.04}}},
        {"data": [{"b64_json": "iVBORw0KGgo="}], "usage": {"cost_in_usd_ticks": 400_000_000}},
        {"candidates": [{"content": {"parts": [{"inlineData": {"data": "iVBORw0KGgo="}}]}}],
         "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1290}},
        {"error": {"message": "no", "code": 400, "status": "INVALID_ARGUMENT", "details": []}},
    ]
)  # fmt: skip


def _places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(document, list):
        document = dict(enumerate(document))
    if isinstance(document, dict):
        for name, each in document.items():
            found += _places(each, (*path, name))
    return found


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = _with(copy[path[0]], path[1:], value)
    return copy


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """JSON of these names, or a good answer with one member changed; at times cut or broken."""
    document = draw(DOCUMENTS)
    if draw(st.booleans()):
        good = draw(SHAPES)
        document = _with(good, draw(st.sampled_from(_places(good))), document)
    body = json.dumps(document).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=6)) + body[at + draw(st.integers(0, 3)) :]
    if draw(st.integers(0, 30)) == 0:
        body = draw(st.sampled_from([b"[", b'{"error":', b'{"data":[', b'{"a":'])) * 3_000 + body
    if draw(st.integers(0, 30)) == 0:
        body = body.decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-7"])))
    return body


def fuzz_the_answers(api: str, cases: int) -> None:
    adapter = ADAPTERS[api](AdapterFacts())
    client = UpstreamClient(
        base_url="http://upstream",
        api_keys=["k"],
        timeout_seconds=1,
        read_timeout_seconds=1,
        connect_timeout_seconds=1,
        max_answer_bytes=1_000_000,
        adapter=adapter,
    )

    @settings(max_examples=cases, deadline=None)
    @given(answers(), st.sampled_from([200, 301, 400, 401, 403, 429, 500, 503]))
    def whatever(body: bytes, status: int) -> None:
        parsed = read_answer(body, "usage.cost.total_cost", lambda it: adapter.to_openai(it, 1))
        assert parsed.cost_nanos is None or 0 <= parsed.cost_nanos <= 10**18
        assert parsed.pictures >= 0
        json.dumps(refusal_in_answer(parsed.refusal).envelope())
        if parsed.valid:
            shared = read_answer(parsed.for_sharing(5), "usage.cost.total_cost")
            assert (shared.pictures, shared.cost_nanos) in (
                (parsed.pictures, 0), (parsed.pictures, None)
            )  # fmt: skip
        told, error = adapter.error(status, body)
        account_code(told, error)
        refusal = refusal_of_answer(told, error)
        assert with_likely_setting(refusal, "the key").status >= 400
        assert refusal.body is None or isinstance(json.loads(refusal.body.decode()), dict)
        with contextlib.suppress(ValueError, CatalogueUnavailable):  # the last good list stands
            parse(client._to_listing(body))

    whatever()


@pytest.mark.parametrize("api", ADAPTERS)
def test_whatever_comes_is_read_or_refused(api: str) -> None:
    fuzz_the_answers(api, 40)


@pytest.mark.long
@pytest.mark.parametrize("api", ADAPTERS)
def test_a_hundred_thousand_times_whatever_comes(api: str) -> None:
    fuzz_the_answers(api, 20_000)
