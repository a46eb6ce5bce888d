"""The model behind the server, its worker and its queue: what the routes share."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from fastapi import Request, Response

from helpers import models
from helpers.catalog import find
from helpers.encode import encode
from helpers.encode.auto import AS_LOADED, chosen_way, run_as
from helpers.encode.batching import batches, full_batches
from helpers.encode.tokens import Floats, TokenizedModel
from helpers.errors import CourseError
from helpers.models.truncation import truncate
from helpers.server.batcher import Batcher, QueueFullError
from helpers.server.body import Bodies
from helpers.server.caller import Caller
from helpers.server.limits import Limits, Tokenized
from helpers.server.settings import Settings
from helpers.server.stopping import Stopping
from helpers.server.telemetry import Metrics
from helpers.server.wire import ApiError, EmbeddingRequest, answer

T = TypeVar("T")

log = logging.getLogger("helpers.server")
# Beyond these a body is understood, and an answer written, in a thread, so that others are answered meanwhile.
OFF_LOOP_BYTES, OFF_LOOP_NUMBERS = 8_192, 16_384
WARM_UP_TOKENS = 128  # a row of the batch that is encoded, and timed, before there is anything to answer


class Service:
    """The model, its batcher and its limits; what the routes share."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics, self.started, self.failed = settings, Metrics(), int(time.time()), False
        self.card = find(settings.model)
        self.way = AS_LOADED
        self.tokenized: TokenizedModel | None = None
        self.batcher: Batcher | None = None
        self.stopping = Stopping()
        self.bodies = Bodies(settings.max_body_bytes, settings.max_body_s)
        # One thread, in which the steps of large requests take turns: they never fill the machine.
        self.large = ThreadPoolExecutor(1, "large")

    def load(self) -> None:
        """Load the model and start the worker; takes seconds."""
        settings = self.settings
        # oneDNN keeps what it prepared for the last 1024 shapes. The layers of a batch share theirs, but another
        # unpadded batch hardly ever has the same.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
        if settings.threads:
            torch.set_num_threads(settings.threads)
        with redirect_stdout(sys.stderr):  # standard output is for JSON
            model = models.load(
                settings.model,
                source=settings.source,
                device=settings.device,
                dtype=settings.dtype,
                trust_remote_code=settings.trust_remote_code,
            )
        if not models.weights(model).real and settings.source == "auto":
            raise CourseError(
                f"The weights of {settings.model} are out of reach; set EMBED_SOURCE=stand-in if you want a stand-in, "
                "whose vectors say nothing."
            )
        with redirect_stdout(sys.stderr):
            self.way = chosen_way(model, settings.precision or AS_LOADED, settings.loss, encode)
            model = run_as(model, self.way)
        self.tokenized = TokenizedModel(model)
        self.tokenized.release()
        speed = self._warm_up(self.tokenized)
        self.batcher = Batcher(
            self.tokenized.encode,
            dims=self.tokenized.dims,
            token_budget=settings.token_budget,
            max_queue_tokens=settings.max_queue_tokens,
            max_wait_s=settings.max_wait_s,
            plan=batches if self.tokenized.pads else full_batches,
            observe=self.metrics.batch,
            died=lambda: self.end("The worker has died; the server ends, so that it is started again."),
        )
        self.batcher.measured(*speed)
        log.info(
            "ready",
            extra={"fields": {"model": settings.model, "weights": str(models.weights(model)), "precision": self.way}},
        )

    def _warm_up(self, model: TokenizedModel) -> tuple[int, float]:
        """Tokens and seconds of a full batch, the first one's slow start left out."""
        row = model.cut(model.tokenize(["warm up " * WARM_UP_TOKENS])[0])[:WARM_UP_TOKENS]
        rows = [row] * max(1, self.settings.token_budget // len(row))
        model.encode(rows)
        start = time.perf_counter()
        model.encode(rows)
        return sum(map(len, rows)), time.perf_counter() - start

    async def start(self) -> None:
        """Load beside the event loop, so that /health answers; end the server if it can't be done."""
        try:
            await asyncio.to_thread(self.load)
        except Exception as error:
            self.end(str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}")

    async def stop(self) -> None:
        """Encode what was accepted, and end the worker; ends the process with code 1 if the server failed."""
        if self.batcher:
            await asyncio.to_thread(self.batcher.close)
        self.large.shutdown()
        if self.failed:  # uvicorn raises SIGTERM again, which process 1 of a container survives: its code were 0
            os._exit(1)

    def end(self, why: str) -> None:
        """End the process as SIGTERM does, after those who wait got their answer, and with code 1."""
        log.critical(why)
        self.failed = True
        signal.raise_signal(signal.SIGTERM)

    @property
    def ready(self) -> bool:
        """Whether a request would be answered."""
        return self.batcher is not None and self.batcher.alive

    def model(self) -> tuple[TokenizedModel, Batcher]:
        """The model and its batcher; ApiError 503 where there is none."""
        if self.tokenized is None or self.batcher is None or not self.batcher.alive:
            raise ApiError(503, "The model isn't ready; try again shortly.", code="not_ready", Retry_After="1")
        return self.tokenized, self.batcher

    def limits(self) -> Limits:
        """What requests are held against; ApiError 503 where there is no model."""
        return Limits(self.settings, self.model()[0], self.card)

    async def embed(self, request: Request, fields: dict[str, Any]) -> Response:
        """Answer one request; `fields` collects what is logged."""
        async with self.bodies.read(request) as body, Caller(request) as caller:
            caller.check()
            limits, large = self.limits(), len(body) > OFF_LOOP_BYTES
            wanted = await self._step(caller, large, limits.read, body)
            fields["texts"] = len(wanted.inputs())
            found, vectors = await self._encode(caller, large, limits, wanted)
            tokens = sum(map(len, found.rows))
            fields |= {"tokens": tokens, "truncated": len(found.truncated)}
            if wanted.dimensions and wanted.dimensions < vectors.shape[1]:
                vectors = truncate(vectors, wanted.dimensions, self.card)
            self._check_finite(vectors)
            self.metrics.texts.inc(len(found.rows))
            self.metrics.tokens.inc(tokens)
            self.metrics.truncated.inc(len(found.truncated))
            write = partial(
                answer, vectors, wanted, model=self.settings.model, tokens=tokens, truncated=found.truncated
            )
            content = await asyncio.to_thread(write) if vectors.size > OFF_LOOP_NUMBERS else write()
        headers = {"X-Truncated-Inputs": str(len(found.truncated))}
        return Response(content, media_type="application/json", headers=headers)

    async def _step(self, caller: Caller, large: bool, work: Callable[..., T], *given: Any) -> T:
        """Do a step of a request: at once, or for a large one in turn with other large ones, if its client waits."""
        caller.check()
        if not large:
            return work(*given)
        return await caller.wait(asyncio.get_running_loop().run_in_executor(self.large, work, *given))

    async def _encode(
        self, caller: Caller, large: bool, limits: Limits, wanted: EmbeddingRequest
    ) -> tuple[Tokenized, Floats]:
        """Token ids and vectors of a request: it has its place in the queue before it is tokenized."""
        _, batcher = self.model()
        job, found = None, Tokenized()
        try:
            place = batcher.reserve(limits.estimate(wanted))
            try:
                steps = limits.tokenize(wanted, found)
                while await self._step(caller, large, next, steps, False):
                    pass
                job = batcher.submit(found.rows, place)
                return found, await caller.wait(job.future)
            finally:
                if job:
                    batcher.abandon(job)
                else:
                    batcher.leave(place)
        except QueueFullError as full:
            message = f"The queue is full; your turn comes in {full.retry_after_s} s, as Retry-After says."
            raise ApiError(429, message, code="queue_full", Retry_After=str(full.retry_after_s)) from None

    def _check_finite(self, vectors: Floats) -> None:
        if not np.isfinite(vectors).all():
            bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            self.metrics.not_finite.inc(len(bad))
            raise ApiError(
                500,
                f"Input {bad[0]}: the model's vector of it isn't finite ({len(bad)} of {len(vectors)} inputs); leave "
                "it out, and tell who runs this server, where EMBED_DTYPE=float32 or another model may help.",
                param="input",
                code="not_finite",
            )
