"""What a run says while it works: a line for each step, and a sign of life at least every five seconds."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

SILENCE_S = 4.0


class Progress:
    """Lines on stderr. While nothing is said for four seconds, the present state is said again, with its seconds."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.silence_s = silence_s
        self._state, self._since, self._said = "", time.monotonic(), time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._watch = threading.Thread(target=self._keep_talking, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._watch.join()

    def say(self, line: str) -> None:
        """Print a line at once."""
        with self._lock:
            self._said = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def begin(self, state: str) -> None:
        """Print what begins now, and say it again while it lasts."""
        self._since = time.monotonic()
        self._state = state
        self.say(state)

    def update(self, state: str) -> None:
        """What is to be said when the next sign of life is due."""
        self._state = state

    def _keep_talking(self) -> None:
        while not self._over.wait(self.silence_s / 8):
            now = time.monotonic()
            if self._state and now - self._said >= self.silence_s:
                self.say(f"{self._state} ({now - self._since:.0f} s)")
