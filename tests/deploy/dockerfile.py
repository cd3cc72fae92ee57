"""The Dockerfile, read as the little of its language that it uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = Path("deploy/Dockerfile")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its stage (from 0), its word, and the rest with its lines joined."""

    stage: int
    word: str
    rest: str


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found: list[Instruction] = []
    stage = -1
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        stage += word == "FROM"
        found.append(Instruction(stage, word, " ".join(rest.split())))
    return found


def of(word: str, stage: int | None = None) -> list[str]:
    """What follows that word, in order; in one stage or in all."""
    return [
        each.rest
        for each in instructions()
        if each.word == word and (stage is None or each.stage == stage)
    ]
