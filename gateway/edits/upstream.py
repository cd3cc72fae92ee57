"""One upstream, with everything that an edit at it takes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.edits.call_budget import CallBudget
from gateway.edits.first_calls import FirstCalls
from gateway.edits.forward import Forwarder
from gateway.uploads.rules.picture_sniffer import PictureFormat
from gateway.upstream.adapters import Adapter
from gateway.upstream.limiter import UpstreamLimiter
from gateway.upstream.picture_fetcher import PictureFetcher


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """Its API and limits, and the stages that end in a call to it.

    `fingerprint_name` is its name in fingerprints, `name` was that in the previous version's.
    """

    name: str
    fingerprint_name: str
    adapter: Adapter
    picture_formats: tuple[PictureFormat, ...]
    limiter: UpstreamLimiter
    first_calls: FirstCalls
    budget: CallBudget
    forwarder: Forwarder
    pictures: PictureFetcher
