"""One worker thread that encodes what many requests bring, in batches of similar lengths.

There is no timer: a free worker takes what is waiting, up to a few batches, sorts it by length and encodes it.
Under load batches fill by themselves; without load nobody waits. Work is measured in tokens, never in texts.

Shorter requests go before longer ones, until these have waited for their time: whoever sends little waits for little,
whatever the others send. So a request is taken or refused by what goes before it, and of another one that is at most
as much as it brings itself.
"""

import asyncio
import math
import threading
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from helpers.encode.batching import Plan, batches
from helpers.encode.tokens import Floats, Row
from helpers.server.turns import Turns

BATCHES_AT_ONCE = 4  # sorted together: more would keep the shortest texts waiting
HALF_LIFE = 8  # full batches after which a measured speed counts half, so that a slow start is forgotten


class QueueFullError(Exception):
    """The queue has no room; `retry_after_s` says when it should have."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class Place:
    """A request's room in the queue: tokens accepted and not yet encoded, an estimate until they are counted."""

    tokens: int
    due: float  # by when it is served, on the batcher's clock


@dataclass(eq=False)
class Job:
    """One request: its rows of token ids, its place, and the future that gets their vectors."""

    rows: list[Row]
    vectors: Floats
    future: asyncio.Future[Floats]
    place: Place
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
        plan: Plan = batches,
        observe: Callable[[int, int], None] = lambda texts, tokens: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the worker.

        Args:
            encode: n rows, the longest first, to (n, dims) vectors.
            dims: d, the size of a vector.
            token_budget: tokens a batch.
            max_queue_tokens: tokens that may go before a request, its own among them.
            max_wait_s: seconds that encoding them may take at the speed of late.
            plan: puts rows into batches: `batches`, or `full_batches` for a model that pads nothing.
            observe: told texts and tokens of each batch.
            died: called by the worker when an error ends it, after those who wait were told.
        """
        self.encode, self.plan, self.observe, self.died = encode, plan, observe, died
        self.dims, self.token_budget = dims, token_budget
        self.max_queue_tokens, self.max_wait_s = max_queue_tokens, max_wait_s
        self._encoded, self._busy_s = 0.0, 0.0  # tokens and seconds of late
        self._places: set[Place] = set()
        self._turns = Turns()
        self._queue: list[Job] = []  # the next to be served first
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

    @property
    def queue_tokens(self) -> int:
        """Tokens accepted and not yet encoded."""
        with self._changed:
            return sum(place.tokens for place in self._places)

    def measured(self, tokens: int, seconds: float) -> None:
        """Take a speed that was measured beforehand for that of late."""
        with self._changed:
            self._encoded, self._busy_s = HALF_LIFE * tokens, HALF_LIFE * seconds

    def reserve(self, tokens: int) -> Place:
        """Room for a request that isn't tokenized yet, by its estimated tokens; to be submitted or left.

        Raises:
            QueueFullError, RuntimeError: as `submit` does.
        """
        with self._changed:
            return self._admit(tokens)

    def leave(self, place: Place) -> None:
        """Give a room back; nothing happens if it is given back already."""
        with self._changed:
            self._places.discard(place)

    def submit(self, rows: list[Row], place: Place | None = None) -> Job:
        """Queue a request's rows, in its place if it has one; called in the event loop.

        An empty queue takes them, however slow the model.

        Raises:
            QueueFullError: they don't fit beside what goes before them, in tokens or in seconds.
            RuntimeError: the worker has died or the queue is closed.
        """
        tokens = sum(map(len, rows))
        with self._changed:
            if place is None or tokens > place.tokens:
                if place:
                    self._places.discard(place)
                place = self._admit(tokens)
            place.tokens = tokens
            vectors = np.empty((len(rows), self.dims), np.float32)
            job = Job(rows, vectors, asyncio.get_running_loop().create_future(), place)
            insort(self._queue, job, key=lambda waiting: waiting.place.due)
            self._changed.notify()
        return job

    def _admit(self, tokens: int) -> Place:
        """A new place; to be called under the lock."""
        if not self.alive:
            raise RuntimeError("the encoder isn't running")
        share, rate = max(tokens, self.token_budget // 4), self.rate
        before = sum(min(place.tokens, share) for place in self._places)
        limit = min(self.max_queue_tokens, self.max_wait_s * rate)
        excess = before + tokens - limit
        if self._places and excess > 0:
            # Whole seconds bring back together whoever comes within one: no more than there is room for.
            raise QueueFullError(self._turns.promise(tokens, min(excess, before), min(rate, limit), share))
        place = Place(tokens, time.perf_counter() + (before + tokens) / rate)
        self._places.add(place)
        return place

    def abandon(self, job: Job) -> None:
        """Forget a request that nobody waits for: what the worker hasn't begun is never encoded."""
        with self._changed:
            job.future.cancel()
            self._places.discard(job.place)
            if job in self._queue:
                self._queue.remove(job)

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
                for batch in self.plan([len(job.rows[i]) for job, i in window], self.token_budget):
                    self._encode([window[k] for k in batch])
        except BaseException:
            with self._changed:
                self._closing = True
                for job in {job for job, _ in window} | set(self._queue):
                    job.settle(RuntimeError("the encoder has died"))
            self.died()
            raise

    def _take(self) -> list[tuple[Job, int]]:
        """The next rows in order, as (job, number), up to a few batches; empty at the end."""
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
                    self._queue.pop(0)
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
            for job, i in batch:
                job.place.tokens -= len(job.rows[i])
            self._places.difference_update([job.place for job, _ in batch if error or job.done == len(job.rows)])
        for job in jobs:
            if error or job.done == len(job.rows):
                job.settle(error)

    def _measured(self, tokens: int, seconds: float) -> None:
        """Note a batch; a small one as half a full one, since most of its time is the fixed cost of a call."""
        tokens = max(tokens, self.token_budget // 2)
        keep = 0.5 ** (tokens / (HALF_LIFE * self.token_budget))
        with self._changed:
            self._encoded, self._busy_s = keep * self._encoded + tokens, keep * self._busy_s + seconds
