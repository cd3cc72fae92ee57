"""A fair queue for a bounded number of slots: teams take turns, whatever each has sent."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Place(Enum):
    """What a newcomer gets."""

    SLOT = "slot"
    QUEUED = "queued"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entered(Generic[Item]):
    """The place of a newcomer, and the item that lost its place to the newcomer."""

    place: Place
    displaced: Item | None = None


class FairQueue(Generic[Item]):
    """Slots, and a queue for each team; at most `most_waiting` items wait in all queues.

    Where the queues are full, a newcomer takes the last place of the longest one, unless its own
    would become as long: a team that fills the queue only displaces its own items.
    """

    def __init__(self, slots: int, most_waiting: int) -> None:
        self._slots = slots
        self._most_waiting = most_waiting
        self._queues: OrderedDict[str, deque[Item]] = OrderedDict()
        """By team, in the order of their turns; none is empty."""
        self.taken = 0
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """Would a newcomer have to wait?"""
        return self.taken >= self._slots

    def enter(self, team: str, item: Item) -> Entered[Item]:
        """Take a slot, or else a place in the team's queue, if there is one."""
        if not self.is_full:
            self.taken += 1
            return Entered(Place.SLOT)
        displaced = None
        if self.waiting >= self._most_waiting:
            longest = max(self._queues, key=lambda name: len(self._queues[name]), default=team)
            if len(self._queues.get(longest, ())) <= len(self._queues.get(team, ())) + 1:
                return Entered(Place.REFUSED)
            displaced = self._queues[longest].pop()
            self.waiting -= 1
        self._queues.setdefault(team, deque()).append(item)
        self.waiting += 1
        return Entered(Place.QUEUED, displaced)

    def leave_queue(self, team: str, item: Item) -> None:
        """Give up a place in the queue."""
        line = self._queues.get(team)
        if line and item in line:
            line.remove(item)
            self.waiting -= 1
            if not line:
                del self._queues[team]

    def clear(self) -> list[Item]:
        """Remove every item that waits, and return them."""
        sent = [item for line in self._queues.values() for item in line]
        self._queues.clear()
        self.waiting = 0
        return sent

    def release_slot(self) -> Item | None:
        """Give up a slot. Returns its new owner: the first item of the team whose turn it is."""
        if not self._queues:
            self.taken -= 1
            return None
        team, line = self._queues.popitem(last=False)
        item = line.popleft()
        self.waiting -= 1
        if line:
            self._queues[team] = line
        return item
