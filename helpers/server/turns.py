"""When those who were refused come in turn: what `Retry-After` says.

Each refused request is given a second of its own in the queue's future, behind those that were refused before it,
so that they don't all come back at once.
"""

import math
import time

SHARE = 0.75  # of the speed is promised: the rest is for new requests, and for a minute that is slower
LONGEST_S = 120  # clients, OpenAI's among them, don't come back if they are to wait longer


class Turns:
    """The promises that were given and aren't due yet."""

    def __init__(self) -> None:
        self._given: list[tuple[float, int]] = []  # (when due, tokens)

    def promise(self, tokens: int, excess: float, speed: float, share: int) -> int:
        """Whole seconds until a request's turn, 1 to 120.

        Args:
            tokens: of the request.
            excess: tokens that have to be encoded before it fits.
            speed: tokens a second.
            share: what another request counts for at most, since shorter ones go first.
        """
        now = time.perf_counter()
        self._given = [(due, promised) for due, promised in self._given if due > now]
        before = sum(min(promised, share) for _, promised in self._given)
        seconds = (excess + before) / (SHARE * speed)
        wait = min(max(1, math.ceil(seconds)), LONGEST_S)
        if seconds <= LONGEST_S:  # who was told the longest wait has no second of its own
            self._given.append((now + seconds, tokens))
        return wait
