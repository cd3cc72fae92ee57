"""The envelope of an answer: what it holds, what it cost, and how a hit shows it.

The pictures are never parsed nor touched: see `json_cutter`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gateway.model.money import nanos_of, usd
from gateway.model.token_usage import TokenUsage
from gateway.wire.json_cutter import LongString, Number, Segment, cut, write
from gateway.wire.pictures import head_of, is_given, text_of
from gateway.wire.token_usage import counts_tokens, token_count, usage_of, without_tokens

_LARGEST_ERROR_BYTES = 1_048_576
_ZERO = Number("0")
ToOpenAI = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What a 200 of the upstream says of itself."""

    valid: bool
    """It is an image answer that carries at least one picture, or the address of one."""
    pictures: int
    has_urls: bool
    """It gives URLs, which expire, so that it can't be stored as it is."""
    cost_nanos: int | None
    """None is unknown, never 0."""
    _body: bytes = field(repr=False)
    heads: tuple[bytes, ...] = ()
    """The first bytes of each picture that the answer holds."""
    urls: tuple[str, ...] = ()
    """The URLs of the pictures that it does not hold."""
    _tree: Any = field(default=None, repr=False)
    _long_strings: Sequence[Segment] = field(default=(), repr=False)
    _cost_steps: tuple[str, ...] = ()
    refusal: str = ""
    """Why the upstream made no picture of a call that it accepted."""
    usage: TokenUsage | None = None
    """The tokens of the call; None where they are not counted."""
    _counts: bool = False
    """It counts tokens, in whatever form."""

    @property
    def body(self) -> bytes:
        """The answer for whoever pays."""
        return self._body

    def for_sharing(self, saved_nanos: int | None) -> bytes:
        """The same answer for whoever does not pay: cost 0, `saved_cost` what it would have been.

        Where the cost is an object, both stand in it; where it is a scalar, `saved_cost`
        stands beside it. Token counts are 0, and under `saved_usage` what they were. An answer
        that names neither, or that is no JSON, stays as it is.
        """
        if not self._cost_steps and not self._counts:
            return self._body
        try:
            tree = without_tokens(self._tree) if self._counts else self._tree
            if steps := self._cost_steps:
                changes = {steps[-1]: Number("0")}
                if saved_nanos is not None:
                    changes["saved_cost"] = Number(usd(saved_nanos))
                tree = _changed(tree, steps[:-1], changes)
            return b"".join(write(tree, self._long_strings))
        except ValueError:
            return self._body

    def with_pictures(self, pictures: Sequence[bytes]) -> ParsedAnswer:
        """The same answer with the pictures of `urls` in it, and without any URL."""
        long_strings, given = list(self._long_strings), iter(pictures)

        def holding(item: Any) -> Any:
            if not isinstance(item, dict) or not is_given(item.get("url")):
                return item
            rest = {name: value for name, value in item.items() if name != "url"}
            if is_given(rest.get("b64_json")):
                return rest
            long_strings.append(b64encode(next(given)))
            return {**rest, "b64_json": LongString(len(long_strings) - 1)}

        tree = {**self._tree, "data": [holding(item) for item in self._tree["data"]]}
        return replace(
            self,
            has_urls=False,
            urls=(),
            heads=_heads(tree["data"], long_strings),
            _body=b"".join(write(tree, long_strings)),
            _tree=tree,
            _long_strings=long_strings,
        )


class UpstreamError(NamedTuple):
    """The `error` object of an upstream's answer; what is absent is None."""

    message: str
    code: str | None
    type: str | None
    param: str | None


def read_answer(body: bytes, cost_path: str, to_openai: ToOpenAI | None = None) -> ParsedAnswer:
    """Read the envelope of a 200's body. `cost_path` is dotted, e.g. `usage.cost.total_cost`.

    `to_openai` makes OpenAI's form of another one. The counts of tokens that the answer lacks are
    shown as 0, but nothing here takes them for counts.
    """
    try:
        tree, long_strings = cut(body)
        shown = given = tree
        if to_openai and isinstance(tree, dict):
            tree = to_openai(tree)
            shown = _with_token_counts(tree)
        if shown != given:
            body = b"".join(write(shown, long_strings))
    except ValueError:
        return ParsedAnswer(valid=False, pictures=0, has_urls=False, cost_nanos=None, _body=body)
    data = tree.get("data") if isinstance(tree, dict) else None
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    with_url = [item for item in items if is_given(item.get("url"))]
    lacking = (item for item in with_url if not is_given(item.get("b64_json")))
    urls = tuple(text_of(item["url"], long_strings) for item in lacking)
    pictures = sum(is_given(item.get("b64_json")) for item in items) + len(urls)
    steps = _cost_steps(tree, cost_path)
    return ParsedAnswer(
        valid=pictures > 0,
        pictures=pictures,
        has_urls=bool(with_url),
        heads=_heads(items, long_strings),
        urls=urls,
        cost_nanos=_cost(tree, steps),
        _body=body,
        _tree=shown,
        _long_strings=long_strings,
        _cost_steps=steps,
        refusal="" if pictures else _error_message(tree),
        usage=usage_of(tree),
        _counts=counts_tokens(tree),
    )


def _heads(items: Sequence[Any], long_strings: Sequence[Segment]) -> tuple[bytes, ...]:
    texts = (item.get("b64_json") for item in items if isinstance(item, dict))
    return tuple(head_of(text, long_strings) for text in texts if is_given(text))


def _with_token_counts(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with the counts of tokens that clients insist on: 0 if it has none."""
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    taken, made = (token_count(usage.get(f"{kind}_tokens")) or 0 for kind in ("input", "output"))
    total = token_count(usage.get("total_tokens"))
    details = usage.get("input_tokens_details")
    counts = {
        "input_tokens": Number(taken),
        "output_tokens": Number(made),
        "total_tokens": Number(taken + made if total is None else total),
        "input_tokens_details": {
            "text_tokens": _ZERO, "image_tokens": _ZERO,
            **(details if isinstance(details, dict) else {}),
        },
    }  # fmt: skip
    return {**answer, "usage": {**usage, **counts}}


def _error_message(tree: Any) -> str:
    error = tree.get("error") if isinstance(tree, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if _is_text(message) else ""


def upstream_error(body: bytes) -> UpstreamError | None:
    """What an upstream's error body says; None where it is not the usual envelope."""
    if len(body) > _LARGEST_ERROR_BYTES:
        return None
    try:
        tree, _ = cut(body, longest=len(body))
    except ValueError:
        return None
    error = tree.get("error") if isinstance(tree, dict) else None
    if _is_text(error):
        return UpstreamError(str(error), None, None, None)
    if not isinstance(error, dict) or not _is_text(error.get("message")):
        return None
    code, kind, param = (_text(error.get(name)) for name in ("code", "type", "param"))
    return UpstreamError(str(error["message"]), code, kind, param)


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _cost_steps(tree: Any, cost_path: str) -> tuple[str, ...]:
    """The names that lead to the cost; none where the answer has no such member.

    Providers write `usage.cost` as an object with `total_cost` or as the amount itself; both
    are met whichever of the two the path names.
    """
    names = tuple(cost_path.split("."))
    for steps in ((*names, "total_cost"), names, names[:-1]):
        if steps and isinstance(_at(tree, steps), str | bool):
            return steps
    return ()


def _at(tree: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def _cost(tree: Any, steps: tuple[str, ...]) -> int | None:
    cost = _at(tree, steps) if steps else None
    return nanos_of(str(cost)) if isinstance(cost, str) else None


def _changed(tree: Any, steps: Sequence[str], changes: Mapping[str, Any]) -> Any:
    """A copy of the document with members of the object at `steps` set."""
    if not steps:
        return {**tree, **changes}
    return {**tree, steps[0]: _changed(tree[steps[0]], steps[1:], changes)}
