"""The outcome of an upstream call with its retries: `Answered` or `CallFailed`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.errors import Refusal
from gateway.model.reservation import Settlement
from gateway.upstream.call import Answer
from gateway.upstream.rules.retry_policy import NOT_ATTEMPTED, RetryVerdict
from gateway.wire.answer import ParsedAnswer


@dataclass(frozen=True, slots=True)
class Answered:
    """The upstream answered with pictures."""

    settlement: Settlement
    answer: Answer
    parsed: ParsedAnswer


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The call brought no picture.

    `settlement` None means that the request provably never left: the reservation is voided.
    """

    refusal: Refusal
    settlement: Settlement | None
    verdict: RetryVerdict = NOT_ATTEMPTED


CallResult = Answered | CallFailed
