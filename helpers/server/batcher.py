"""One worker thread that encodes what many requests bring, in batches of similar lengths.

There is no timer: a free worker takes what is waiting, up to a few batches, sorts it by length and encodes it.
Under load batches fill by themselves; without load nobody waits. Work is measured in tokens, never in texts.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from helpers.encode import batches
from helpers.encode.tokens import Floats, Row

BATCHES_AT_ONCE = 4  # sorted together: more would keep the shortest texts waiting
HALF_LIFE = 8  # full batches after which a measured speed counts half, so that a slow start is forgotten


class QueueFullError(Exception):
    """The queue has no room; `retry_after_s` says when it should have."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class Job:
    """One request: its rows of token ids, and the future that gets their vectors."""

    rows: list[Row]
    vectors: Floats
    future: asyncio.Future[Floats]
    taken: int = 0
    done: int = 0

    def settle(self, error: Exception | None = None) -> None:
        """Hand the vectors, or an error, to the event loop; called by the worker."""

        def deliver() -> None:
            if not self.future.done():
                self.future.set_exception(error) if error else self.future.set_result(self.vectors)

        self.future.get_loop().call_soon_threadsafe(deliver)


class Batcher:
    """The queue and its worker."""

    def __init__(
        self,
        encode: Callable[[list[Row]], Floats],
        *,
        dims: int,
        token_budget: int,
        max_queue_tokens: int,
        max_wait_s: float,
        observe: Callable[[int, int], None] = lambda texts, tokens: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the worker.

        Args:
            encode: n rows, the longest first, to (n, dims) vectors.
            dims: d, the size of a vector.
            token_budget: tokens a batch.
            max_queue_tokens: tokens that may be accepted and not yet encoded.
            max_wait_s: seconds that encoding them may take at the speed of late.
            observe: told texts and tokens of each batch.
            died: called by the worker when an error ends it, after those who wait were told.
        """
        self.encode, self.observe, self.died = encode, observe, died
        self.dims, self.token_budget = dims, token_budget
        self.max_queue_tokens, self.max_wait_s = max_queue_tokens, max_wait_s
        self.queue_tokens = 0  # accepted and not yet encoded
        self._encoded, self._busy_s = 0.0, 0.0  # tokens and seconds of late
        self._queue: deque[Job] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._run, name="encoder", daemon=True)
        self._worker.start()

    @property
    def alive(self) -> bool:
        """Whether the worker runs and takes more."""
        return self._worker.is_alive() and not self._closing

    @property
    def rate(self) -> float:
        """Tokens a second of late; infinite until a batch has been measured."""
        return self._encoded / self._busy_s if self._busy_s else math.inf

    def submit(self, rows: list[Row]) -> Job:
        """Queue a request's rows; called in the event loop. An empty queue takes them, however slow the model.

        Raises:
            QueueFullError: they don't fit beside what is waiting, in tokens or in seconds.
            RuntimeError: the worker has died or the queue is closed.
        """
        tokens = sum(map(len, rows))
        with self._changed:
            if not self.alive:
                raise RuntimeError("the encoder isn't running")
            excess = self.queue_tokens + tokens - min(self.max_queue_tokens, self.max_wait_s * self.rate)
            if self.queue_tokens and excess > 0:
                raise QueueFullError(max(1, math.ceil(min(excess, self.queue_tokens) / self.rate)))
            job = Job(rows, np.empty((len(rows), self.dims), np.float32), asyncio.get_running_loop().create_future())
            self.queue_tokens += tokens
            self._queue.append(job)
            self._changed.notify()
        return job

    def abandon(self, job: Job) -> None:
        """Forget a request that nobody waits for: what the worker hasn't begun is never encoded."""
        with self._changed:
            job.future.cancel()
            if job in self._queue:
                self._queue.remove(job)
                self.queue_tokens -= sum(len(row) for row in job.rows[job.taken :])

    def close(self) -> None:
        """Encode what is waiting, then end the worker."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._worker.join()

    def _run(self) -> None:
        window: list[tuple[Job, int]] = []
        try:
            while window := self._take():
                for batch in batches([len(job.rows[i]) for job, i in window], self.token_budget):
                    self._encode([window[k] for k in batch])
        except BaseException:
            with self._changed:
                self._closing = True
                for job in {job for job, _ in window} | set(self._queue):
                    job.settle(RuntimeError("the encoder has died"))
            self.died()
            raise

    def _take(self) -> list[tuple[Job, int]]:
        """The next rows in order of arrival, as (job, place), up to a few batches; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            window: list[tuple[Job, int]] = []
            room = BATCHES_AT_ONCE * self.token_budget
            while self._queue and room > 0:
                job = self._queue[0]
                window.append((job, job.taken))
                room -= len(job.rows[job.taken])
                job.taken += 1
                if job.taken == len(job.rows):
                    self._queue.popleft()
            return window

    def _encode(self, batch: list[tuple[Job, int]]) -> None:
        """Encode one batch, leave out what was abandoned, and settle each job that is complete."""
        waiting = [(job, i) for job, i in batch if not job.future.done()]
        rows, jobs = [job.rows[i] for job, i in waiting], {job for job, _ in waiting}
        error: Exception | None = None
        if rows:
            start = time.perf_counter()
            try:
                vectors = self.encode(rows)
            except Exception as caught:  # one bad batch fails its own requests, not the server
                error = caught
            else:
                self._measured(sum(map(len, rows)), time.perf_counter() - start)
                self.observe(len(rows), sum(map(len, rows)))
                for (job, i), vector in zip(waiting, vectors, strict=True):
                    job.vectors[i] = vector
                    job.done += 1
        with self._changed:  # before the answers: whoever sends the next request after one finds its room
            self.queue_tokens -= sum(len(job.rows[i]) for job, i in batch)
        for job in jobs:
            if error or job.done == len(job.rows):
                job.settle(error)

    def _measured(self, tokens: int, seconds: float) -> None:
        """Note a batch; a small one as half a full one, since most of its time is the fixed cost of a call."""
        tokens = max(tokens, self.token_budget // 2)
        keep = 0.5 ** (tokens / (HALF_LIFE * self.token_budget))
        with self._changed:
            self._encoded, self._busy_s = keep * self._encoded + tokens, keep * self._busy_s + seconds
