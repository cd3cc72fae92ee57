"""The payer of a billed call: whom its cost is booked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

UNATTRIBUTED = "(unattributed)"
"""The team and the key of a billed call whose request is unknown."""


@dataclass(frozen=True, slots=True, order=True)
class Payer:
    """The attributes of the request that a call was made for."""

    team: str = UNATTRIBUTED
    key_id: str = UNATTRIBUTED
    model: str = ""
    owner: str = ""
    cost_centre: str = ""
    tags: str = "{}"
    end_user: str = ""


NOBODY = Payer()


class Shift(NamedTuple):
    """An amount that is to be booked for a team and key, and the day that it concerns."""

    team: str
    key_id: str
    day: str
    nanos: int
