"""The queue, with an encoder that works when it is told to."""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from helpers.server.batcher import BATCHES_AT_ONCE, HALF_LIFE, Batcher, Job, QueueFullError
from helpers.server.turns import SHARE


class Slow:
    """An encoder that takes one batch a permit, and a clock that shows `seconds` a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.seconds, self.now, self.permits = seconds, 0.0, threading.Semaphore(0)
        monkeypatch.setattr("helpers.server.batcher.time.perf_counter", lambda: self.now)

    def encode(self, rows: list[list[int]]) -> Any:
        assert self.permits.acquire(timeout=30)
        self.now += self.seconds
        return np.zeros((len(rows), 2), np.float32)

    def run(self, behave: Callable[[Batcher], Awaitable[None]], max_queue_tokens: int = 10_000) -> None:
        """Run what a test does with a batcher of 10 tokens a batch and 5 seconds to wait."""

        async def within() -> None:
            batcher = Batcher(self.encode, dims=2, token_budget=10, max_queue_tokens=max_queue_tokens, max_wait_s=5)
            try:
                await behave(batcher)
            finally:
                self.permits.release(1000)
                batcher.close()

        asyncio.run(within())

    async def finish(self, *jobs: Job) -> None:
        """Let the encoder do these jobs, of ten tokens a row."""
        self.permits.release(sum(len(job.rows) for job in jobs))
        for job in jobs:
            await asyncio.wait_for(job.future, 30)


def rows(count: int) -> list[list[int]]:
    return [[1] * 10] * count


def test_before_anything_is_measured_only_the_limit_in_tokens_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        jobs = [batcher.submit(rows(50)), batcher.submit(rows(50))]
        with pytest.raises(QueueFullError):
            batcher.submit(rows(50))
        await slow.finish(*jobs)

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave, max_queue_tokens=1000)


def test_each_who_is_refused_is_told_a_turn_of_his_own_by_the_queues_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate == 10
        jobs = [batcher.submit(rows(1)) for _ in range(5)]  # 50 tokens at 10 a second: the 5 seconds
        told = []
        for count in (1, 1, 1, 1000, 1):
            with pytest.raises(QueueFullError) as refused:
                batcher.submit(rows(count))
            told.append(refused.value.retry_after_s)
        promised = [math.ceil(tokens / (SHARE * 10)) for tokens in (10, 20, 30, 50 + 30, 50)]
        assert told == promised
        await slow.finish(*jobs)
        assert batcher.queue_tokens == 0
        slow.now += 100  # all promises are past
        jobs = []
        with pytest.raises(QueueFullError) as refused:
            while True:
                jobs.append(batcher.submit(rows(1)))
        assert refused.value.retry_after_s <= promised[0]
        await slow.finish(*jobs)

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_nobody_is_told_to_wait_longer_than_clients_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        job = batcher.submit(rows(1))
        for _ in range(3):
            with pytest.raises(QueueFullError) as refused:
                batcher.submit(rows(1))
            assert refused.value.retry_after_s == 120
        await slow.finish(job)

    slow = Slow(monkeypatch, seconds=3600)
    slow.run(behave)


def test_who_comes_back_in_turn_finds_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        jobs, coming, start = [], [(0.0, i) for i in range(60)], slow.now
        refusals: Counter[int] = Counter()
        while coming:
            for when, i in [one for one in coming if one[0] <= slow.now - start]:
                coming.remove((when, i))
                try:
                    jobs.append(batcher.submit(rows(1)))
                except QueueFullError as full:
                    refusals[i] += 1
                    coming.append((slow.now - start + full.retry_after_s, i))
            if jobs:
                await slow.finish(jobs.pop(0))  # a second
            else:
                slow.now += 1
        while jobs:
            await slow.finish(jobs.pop(0))
        assert len(refusals) > 40 and max(refusals.values()) <= 2

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_a_short_request_finds_room_beside_any_large_one_and_is_encoded_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        large = batcher.submit(rows(500))  # a hundred times what may wait, into an empty queue
        shorts = [batcher.submit([[1]]) for _ in range(10)]
        slow.permits.release(1 + BATCHES_AT_ONCE)  # the window that was begun, and the next batch
        for short in shorts:
            await asyncio.wait_for(short.future, 30)
        assert not large.future.done()
        with pytest.raises(QueueFullError):
            batcher.submit(rows(5))
        batcher.abandon(large)

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_a_large_request_that_has_waited_for_its_time_goes_before_new_short_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        large = batcher.submit(rows(20))
        slow.now += 21
        batcher.submit([[1]])
        assert batcher._queue[0] is large
        batcher.abandon(large)

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_room_is_kept_from_before_a_request_is_tokenized_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        place = batcher.reserve(50)
        with pytest.raises(QueueFullError):
            batcher.reserve(50)
        job = batcher.submit(rows(2), place)
        assert batcher.queue_tokens == 20
        other = batcher.reserve(20)
        with pytest.raises(QueueFullError):
            batcher.submit(rows(4), other)  # more than was estimated
        batcher.leave(other)
        await slow.finish(job)
        assert batcher.queue_tokens == 0

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_a_request_of_several_batches_is_answered_when_all_of_it_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        batcher.encode = lambda given: slow.encode(given) + np.array([[row[0]] for row in given], np.float32)
        job = batcher.submit([[i] * 10 for i in range(12)])
        for _ in range(11):
            slow.permits.release(1)
            await asyncio.sleep(0.01)
            assert not job.future.done()
        slow.permits.release(1)
        vectors = await asyncio.wait_for(job.future, 30)
        np.testing.assert_array_equal(vectors, [[i, i] for i in range(12)])

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_of_an_abandoned_request_only_the_batch_that_was_begun_is_encoded_and_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def behave(batcher: Batcher) -> None:
        batches: list[int] = []
        batcher.observe = lambda texts, tokens: batches.append(tokens)
        job = batcher.submit(rows(30))
        await asyncio.sleep(0.1)
        batcher.abandon(job)
        assert batcher.queue_tokens == 0
        slow.permits.release(1)  # for the batch that was begun
        await slow.finish(batcher.submit(rows(1)), batcher.submit(rows(1)))
        assert batches == [10, 10, 10]

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_the_fixed_cost_of_a_small_batch_is_not_taken_for_the_models_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit([[1]]))
        assert batcher.rate == 10 / 2

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_an_empty_queue_takes_a_request_however_slow_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        large = batcher.submit(rows(50))
        with pytest.raises(QueueFullError):
            batcher.submit(rows(1))
        await slow.finish(large)

    slow = Slow(monkeypatch, seconds=3600)
    slow.run(behave)


def test_a_slow_start_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate == 0.1
        slow.seconds = 0.01
        for _ in range(12 * HALF_LIFE):
            await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate > 500  # of 1000 at last
        await slow.finish(batcher.submit(rows(1)), batcher.submit(rows(200)))

    slow = Slow(monkeypatch, seconds=100)
    slow.run(behave)
