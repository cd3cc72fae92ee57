"""The table of docs/faults-of-many.md, between its markers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.model.money import usd
from tests.faults_of_many.observing import Observed

PAGE = Path("docs/faults-of-many.md")
BEGIN = "<!-- table: written by `python -m tests.faults_of_many` -->"
END = "<!-- table: end -->"
_HEAD = (
    "fault", "edits", "trouble", "normal after", "wrong answers", "ledger − bills, $",
    "reconciled, $", "overspent, $", "bought again",
)  # fmt: skip


def write(observed: Sequence[Observed]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(
        f"{before}{BEGIN}\n\n{_what(observed)}\n\n{table(observed)}\n\n{END}{after}",
        encoding="utf-8",
    )


def _what(observed: Sequence[Observed]) -> str:
    edits = sum(each.edits for each in observed)
    return f"{datetime.now(UTC):%Y-%m-%d}: {len(observed)} faults under {edits:,} edits."


def table(observed: Sequence[Observed]) -> str:
    names = list(dict.fromkeys(each.fault.name for each in observed))
    rows = [_row([each for each in observed if each.fault.name == name]) for name in names]
    lines = [_HEAD, ("---",) * len(_HEAD), *rows, _sums(observed)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(same: Sequence[Observed]) -> Sequence[str]:
    """Of one fault, however often inflicted: counts are added; of seconds, the most is shown."""
    return (
        same[0].fault.what,
        *_counts(same, f"{max(each.troubled_seconds for each in same):.0f} s",
                 f"{max(each.normal_seconds for each in same):.0f} s"),
    )  # fmt: skip


def _sums(observed: Sequence[Observed]) -> Sequence[str]:
    return ("**all**", *_counts(observed, "", ""))


def _counts(observed: Sequence[Observed], trouble: str, normal: str) -> Sequence[str]:
    seen: Counter[str] = sum((each.seen for each in observed), Counter())
    return (
        f"{sum(each.edits for each in observed):,}",
        trouble,
        normal,
        "; ".join(f"{count} × {what}" for what, count in seen.most_common()) or "–",
        usd(sum(each.estimated for each in observed)),
        usd(sum(each.difference for each in observed)),
        usd(sum(each.overspent for each in observed)),
        str(sum(each.bought_again for each in observed)),
    )
