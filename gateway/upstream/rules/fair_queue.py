"""A fair queue for a bounded number of seats: teams take turns, whoever has sent the most."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Place(Enum):
    """What somebody gets who wants a seat."""

    SEAT = "seat"
    LINE = "line"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Entered(Generic[Item]):
    """The place of a newcomer, and who has lost a place in the line to it."""

    place: Place
    displaced: Item | None = None


class FairQueue(Generic[Item]):
    """So many seats, and a line for each team; at most `most_waiting` wait in all lines.

    Where the lines are full, a newcomer takes the last place of the longest one, unless its own
    would become as long: so a team that fills the queue fills it against itself alone.
    """

    def __init__(self, slots: int, most_waiting: int) -> None:
        self._seats = slots
        self._most_waiting = most_waiting
        self._lines: OrderedDict[str, deque[Item]] = OrderedDict()
        """In the order of their turns; none is empty."""
        self.taken = 0
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """Would a newcomer have to wait?"""
        return self.taken >= self._seats

    def enter(self, team: str, item: Item) -> Entered[Item]:
        """Take a seat, or else a place in the team's line, if there is one."""
        if not self.is_full:
            self.taken += 1
            return Entered(Place.SEAT)
        displaced = None
        if self.waiting >= self._most_waiting:
            longest = max(self._lines, key=lambda name: len(self._lines[name]), default=team)
            if len(self._lines.get(longest, ())) <= len(self._lines.get(team, ())) + 1:
                return Entered(Place.NONE)
            displaced = self._lines[longest].pop()
            self.waiting -= 1
        self._lines.setdefault(team, deque()).append(item)
        self.waiting += 1
        return Entered(Place.LINE, displaced)

    def leave_line(self, team: str, item: Item) -> None:
        """Give up a place in the line."""
        line = self._lines.get(team)
        if line and item in line:
            line.remove(item)
            self.waiting -= 1
            if not line:
                del self._lines[team]

    def close_lines(self) -> list[Item]:
        """Send away everybody who waits; who they are."""
        sent = [item for line in self._lines.values() for item in line]
        self._lines.clear()
        self.waiting = 0
        return sent

    def leave_seat(self) -> Item | None:
        """Give up a seat; who has it now: the first in line of the team whose turn it is."""
        if not self._lines:
            self.taken -= 1
            return None
        team, line = self._lines.popitem(last=False)
        item = line.popleft()
        self.waiting -= 1
        if line:
            self._lines[team] = line
        return item
