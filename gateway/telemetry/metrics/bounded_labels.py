"""Names in labels, bounded: a gateway that lives for years must not grow a series a name."""

from __future__ import annotations

from collections.abc import Iterable

OTHER = "other"


class BoundedLabels:
    """The names of one kind that are told apart: at most so many, every other one is `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def learn(self, names: Iterable[str]) -> None:
        """These exist: they may stand in labels, while there is room."""
        for name in names:
            self.known(name)

    def known(self, name: str) -> str:
        """The label's value for a name that exists: itself while there is room."""
        if name in self._known:
            return name
        if not name or name == OTHER or len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name

    def if_known(self, name: str) -> str:
        """The label's value for a name that need not exist: it takes nobody's place."""
        return name if name in self._known else OTHER
