"""Bounded label values: the number of series does not grow without limit."""

from __future__ import annotations

OTHER = "other"


class BoundedLabels:
    """Label values of one kind: at most `most` names, every other name is `other`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: set[str] = set()

    def known(self, name: str) -> str:
        """The label of a name that exists: the name itself while there is room."""
        if name in self._known:
            return name
        if not name or name == OTHER or len(self._known) >= self.most:
            return OTHER
        self._known.add(name)
        return name

    def if_known(self, name: str) -> str:
        """The label of a name that may not exist; it takes up no room."""
        return name if name in self._known else OTHER
