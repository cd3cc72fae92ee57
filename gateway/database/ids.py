"""Ids of requests and reservations."""

from __future__ import annotations

import random
import time


def new_id(prefix: str) -> str:
    """`prefix`, the time in milliseconds, 80 random bits: 32 hexadecimal digits.

    Consecutive ids are close to each other in a database's index, so that rows written together
    touch few of its pages. Ids are not secret.
    """
    return f"{prefix}{time.time_ns() // 1_000_000:012x}{random.getrandbits(80):020x}"
