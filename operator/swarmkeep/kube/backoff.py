"""Growing, jittered pauses between attempts: the mirror's and the transport's."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from `first_s` up to `longest_s`, each shortened by up to a half at random.

    The chance keeps a thousand agents from coming back in the same instant after an outage.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_s(self) -> float:
        """How long to wait now, in seconds."""
        pause = self._next_s
        self._next_s = min(self._longest_s, pause * 2)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def reset(self) -> None:
        """It worked: start over with the short pause."""
        self._next_s = self._first_s
