"""The model behind the server, its worker and its queue: what the routes share."""

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import torch
from fastapi import Request, Response

from helpers import models
from helpers.catalog import find
from helpers.encode.tokens import Floats, Row, TokenizedModel
from helpers.errors import CourseError
from helpers.models.truncation import truncate
from helpers.server.batcher import Batcher, QueueFullError
from helpers.server.limits import Limits, read_body
from helpers.server.settings import Settings
from helpers.server.telemetry import Metrics
from helpers.server.wire import ApiError, answer

log = logging.getLogger("helpers.server")
# Beyond these a body is read, and an answer written, in a thread, so that others are answered meanwhile.
OFF_LOOP_BYTES, OFF_LOOP_NUMBERS = 16_384, 16_384


class Service:
    """The model, its batcher and its limits; what the routes share."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics, self.started, self.failed = settings, Metrics(), int(time.time()), False
        self.card = find(settings.model)
        self.tokenized: TokenizedModel | None = None
        self.batcher: Batcher | None = None

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
        self.tokenized = TokenizedModel(model)
        self.tokenized.encode(self.tokenized.tokenize(["warm up"]))
        self.batcher = Batcher(
            self.tokenized.encode,
            dims=self.tokenized.dims,
            token_budget=settings.token_budget,
            max_queue_tokens=settings.max_queue_tokens,
            max_wait_s=settings.max_wait_s,
            observe=self.metrics.batch,
            died=lambda: self.end("The worker has died; the server ends, so that it is started again."),
        )
        log.info("ready", extra={"fields": {"model": settings.model, "weights": str(models.weights(model))}})

    async def start(self) -> None:
        """Load beside the event loop, so that /health answers; end the server if it can't be done."""
        try:
            await asyncio.to_thread(self.load)
        except Exception as error:
            self.end(str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}")

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

    async def embed(self, request: Request, fields: dict[str, Any]) -> Response:
        """Answer one request; `fields` collects what is logged."""
        body = await read_body(request, self.settings.max_body_bytes)
        large = len(body) > OFF_LOOP_BYTES
        limits = Limits(self.settings, self.model()[0], self.card)
        wanted, rows, truncated = await asyncio.to_thread(limits.prepare, body) if large else limits.prepare(body)
        tokens = sum(map(len, rows))
        fields |= {"texts": len(rows), "tokens": tokens, "truncated": len(truncated)}
        vectors = await self.encode(request, rows)
        self.metrics.texts.inc(len(rows))
        self.metrics.tokens.inc(tokens)
        self.metrics.truncated.inc(len(truncated))
        if wanted.dimensions:
            vectors = truncate(vectors, wanted.dimensions, self.card)
        write = partial(answer, vectors, wanted, model=self.settings.model, tokens=tokens, truncated=truncated)
        content = await asyncio.to_thread(write) if vectors.size > OFF_LOOP_NUMBERS else write()
        headers = {"X-Truncated-Inputs": str(len(truncated))}
        return Response(content, media_type="application/json", headers=headers)

    async def encode(self, request: Request, rows: list[Row]) -> Floats:
        """The vectors of a request, unless its client goes away first."""
        _, batcher = self.model()
        try:
            job = batcher.submit(rows)
        except QueueFullError as full:
            message = f"The queue is full; try again in {full.retry_after_s} s."
            raise ApiError(429, message, code="queue_full", Retry_After=str(full.retry_after_s)) from None
        gone: asyncio.Future[Any] = asyncio.ensure_future(
            request.receive()
        )  # the body was read: what comes next is the disconnect
        try:
            await asyncio.wait([job.future, gone], return_when=asyncio.FIRST_COMPLETED)
            if job.future.done():
                return job.future.result()
            raise ApiError(499, "The client went away.")
        finally:
            gone.cancel()
            if not job.future.done():
                batcher.abandon(job)
                self.metrics.abandoned.inc()
