"""The upstream image API over httpx: one attempt, told apart by what may have been charged.

`Unsent` means that no byte of the request left (so nothing can have been charged);
`Broken` means that it may have been. Whether to try again is decided elsewhere.
"""

from gateway.upstream.http.attempt import Answer, Broken, Listener, Payload, Unsent
from gateway.upstream.http.client import CatalogueUnavailable, Upstream

__all__ = [
    "Answer",
    "Broken",
    "CatalogueUnavailable",
    "Listener",
    "Payload",
    "Unsent",
    "Upstream",
]
