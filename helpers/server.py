"""An embedding server with OpenAI's API: `uvicorn helpers.server:app`.

One model, one worker thread (`batcher`), limits on everything that a client can send, metrics for Prometheus,
logs in JSON without the texts. Every field of `Settings` is an environment variable with the prefix EMBED_.
"""

import asyncio
import hmac
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from starlette.exceptions import HTTPException

from helpers import models
from helpers.batcher import Batcher, QueueFullError
from helpers.catalog import find
from helpers.errors import CourseError
from helpers.openai_api import ApiError, EmbeddingRequest, EmbeddingResponse, ErrorBody, ModelList, answer, parse
from helpers.telemetry import Counted, Metrics, log_json
from helpers.tokens import Floats, Row, TokenizedModel

log = logging.getLogger("helpers.server")
# Beyond these a body is read, and an answer written, in a thread, so that others are answered meanwhile.
OFF_LOOP_BYTES, OFF_LOOP_NUMBERS = 16_384, 16_384


class Settings(BaseSettings):
    """What can be set, each by an environment variable: `EMBED_MODEL`, `EMBED_API_KEYS` and so on."""

    model_config = SettingsConfigDict(env_prefix="EMBED_")

    model: str = Field(default="all-MiniLM-L6-v2", description="What `helpers.load` takes: a name, or a folder.")
    source: models.Source = Field(
        default="auto", description="Where weights come from; a stand-in is served only by name."
    )
    device: str | None = Field(default=None, description="cuda, mps or cpu; unset takes the best there is.")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Unset: float32 on a CPU."
    )
    trust_remote_code: bool = Field(default=False, description="Let a model run its own code, at its pinned revision.")
    threads: PositiveInt | None = Field(default=None, description="Threads that compute; unset is PyTorch's choice.")
    api_keys: Annotated[SecretStr, NoDecode] = Field(
        default=SecretStr(""), description="Bearer keys, separated by commas; empty lets everybody in."
    )
    token_budget: PositiveInt = Field(default=1024, description="Tokens a batch.")
    max_queue_tokens: PositiveInt = Field(
        default=131_072, description="Tokens accepted and not yet encoded, all requests together; beyond it 429."
    )
    max_wait_s: PositiveFloat = Field(
        default=10, description="Seconds that encoding them may take, at the speed of late; beyond it 429."
    )
    max_inputs: PositiveInt = Field(default=2048, description="Texts a request; beyond it 400.")
    max_body_bytes: PositiveInt = Field(default=2_000_000, description="Bytes a request; beyond it 413.")
    truncate: bool = Field(
        default=False, description="Cut texts that are too long, where a request doesn't say; else 400."
    )

    @property
    def keys(self) -> list[bytes]:
        """The Bearer keys."""
        return [key.strip().encode() for key in self.api_keys.get_secret_value().split(",") if key.strip()]


class Service:
    """The model, its batcher and its limits; what the routes share."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics, self.started, self.failed = settings, Metrics(), int(time.time()), False
        self.card = find(settings.model)
        self.names = {settings.model} | ({self.card.name, self.card.hub_id} if self.card else set())
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
            told = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
            self.end(told)

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

    def prepare(self, body: bytes) -> tuple[EmbeddingRequest, list[Row], list[int]]:
        """A request, its token ids, and the places of texts that were cut; ApiError where a limit is passed."""
        model, _ = self.model()
        wanted = parse(body)
        if wanted.model not in self.names:
            raise ApiError(
                404,
                f"There is no model {wanted.model[:80]!r} here; there is {self.settings.model!r}.",
                param="model",
                code="model_not_found",
            )
        inputs = wanted.inputs()
        if len(inputs) > self.settings.max_inputs:
            raise ApiError(
                400, f"{len(inputs)} inputs; send at most {self.settings.max_inputs} a request.", param="input"
            )
        self._check_dimensions(wanted, model)
        rows = self._rows(inputs, wanted, model)
        long = [i for i, row in enumerate(rows) if len(row) > model.max_tokens]
        if long and not (self.settings.truncate if wanted.truncate is None else wanted.truncate):
            raise ApiError(
                400,
                f"Input {long[0]} has {len(rows[long[0]])} tokens and the model reads {model.max_tokens} "
                f"(too long: {len(long)} of {len(rows)}); shorten it, or send truncate: true.",
                param="input",
                code="context_length_exceeded",
            )
        rows = [model.cut(row) for row in rows]
        if sum(map(len, rows)) > self.settings.max_queue_tokens:
            raise ApiError(
                413,
                f"{sum(map(len, rows))} tokens; send at most {self.settings.max_queue_tokens} a request.",
                param="input",
            )
        return wanted, rows, long

    def _rows(self, inputs: list[str] | list[Row], wanted: EmbeddingRequest, model: TokenizedModel) -> list[Row]:
        prompts = model.model.prompts
        name = wanted.input_type or model.model.default_prompt_name
        prompt = (prompts.get(name) or "") if name else ""
        if isinstance(inputs[0], str):
            return model.tokenize([f"{prompt}{text}" for text in inputs])
        rows = inputs
        if prompt:
            raise ApiError(400, "A prompt can't be put before token ids; send texts.", param="input_type")
        for i, row in enumerate(rows):
            if not model.own(row):
                raise ApiError(
                    400,
                    f"Input {i}: these are no token ids of {self.settings.model}, which begin with {model.before} and "
                    f"end with {model.after}; send texts (in LangChain, check_embedding_ctx_length=False).",
                    param="input",
                    code="foreign_token_ids",
                )
        return rows

    def _check_dimensions(self, wanted: EmbeddingRequest, model: TokenizedModel) -> None:
        if wanted.dimensions is None:
            return
        if not (self.card and self.card.matryoshka):
            raise ApiError(
                400, f"{self.settings.model} isn't trained to be cut; leave dimensions out.", param="dimensions"
            )
        if wanted.dimensions > model.dims:
            raise ApiError(400, f"dimensions must be 1 to {model.dims}.", param="dimensions")

    def shorten(self, vectors: Floats, dimensions: int) -> Floats:
        """The first dimensions, at unit length; for Nomic's models after a layer norm, as they were trained."""
        if self.card and self.card.hub_id.startswith("nomic-ai/"):
            vectors = vectors - vectors.mean(axis=1, keepdims=True)  # the scale goes with the length below
        vectors = vectors[:, :dimensions]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

    async def embed(self, request: Request, fields: dict[str, Any]) -> Response:
        """Answer one request; `fields` collects what is logged."""
        body = await read_body(request, self.settings.max_body_bytes)
        large = len(body) > OFF_LOOP_BYTES
        wanted, rows, truncated = await asyncio.to_thread(self.prepare, body) if large else self.prepare(body)
        tokens = sum(map(len, rows))
        fields |= {"texts": len(rows), "tokens": tokens, "truncated": len(truncated)}
        vectors = await self.encode(request, rows)
        self.metrics.texts.inc(len(rows))
        self.metrics.tokens.inc(tokens)
        self.metrics.truncated.inc(len(truncated))
        if wanted.dimensions:
            vectors = self.shorten(vectors, wanted.dimensions)
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


async def read_body(request: Request, limit: int) -> bytes:
    """The body, or ApiError 413; a moderately large one is read to its end, so that the client hears the answer."""
    chunks, size = [], 0
    declared = request.headers.get("content-length", "")
    if not (declared.isdigit() and int(declared) > 8 * limit):
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size > 8 * limit:
                break
        if size <= limit:
            return b"".join(chunks)
    raise ApiError(413, f"The body is larger than {limit} bytes; send fewer texts a request.", Connection="close")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings come from the environment unless given."""
    service = Service(settings or Settings())
    keys = service.settings.keys

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log_json()
        loading = asyncio.create_task(service.start())
        yield
        await loading
        if service.batcher:
            await asyncio.to_thread(service.batcher.close)
        if service.failed:  # uvicorn raises SIGTERM again, which process 1 of a container survives: its code were 0
            os._exit(1)

    async def authorise(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        sent = given.credentials.encode() if given else b""
        # A list, so that every key is compared: how long it takes tells nothing.
        if keys and not any([hmac.compare_digest(sent, key) for key in keys]):
            message = "The API key is missing or wrong; send it as 'Authorization: Bearer <key>'."
            raise ApiError(401, message, code="invalid_api_key", WWW_Authenticate="Bearer")

    locked, app = [Depends(authorise)], FastAPI(title="Embedding server", version="1", lifespan=lifespan)
    app.state.service = service
    app.add_middleware(Counted, metrics=service.metrics)
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": why}
        for status, why in {
            400: "Something in the request is wrong", 401: "No valid key", 404: "No such model",
            413: "Too large", 429: "The queue is full; Retry-After says how long", 503: "Not ready",
        }.items()
    }  # fmt: skip

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path[:80]}: {error.detail}; /docs lists what there is."
        return JSONResponse(ApiError(error.status_code, message).body, error.status_code, headers=error.headers)

    @app.post(
        "/v1/embeddings",
        dependencies=locked,
        responses={200: {"model": EmbeddingResponse}, **errors},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": EmbeddingRequest.model_json_schema()}},
            }
        },
    )
    async def embeddings(request: Request) -> Response:
        """Vectors for texts, as OpenAI's API gives them."""
        start, fields = time.perf_counter(), {"id": uuid.uuid4().hex, "texts": 0, "tokens": 0, "truncated": 0}
        try:
            response = await service.embed(request, fields)
        except ApiError as error:
            response = await api_error(request, error)
        except Exception:
            log.exception("failed", extra={"fields": {"id": fields["id"]}})
            response = await api_error(request, ApiError(500, f"The server failed; its log has {fields['id']}."))
        seconds = time.perf_counter() - start
        response.headers["X-Request-Id"] = str(fields["id"])
        log.info("request", extra={"fields": fields | {"status": response.status_code, "ms": round(1000 * seconds)}})
        return response

    @app.get("/v1/models", dependencies=locked, responses={401: errors[401], 503: errors[503]})
    async def list_models() -> ModelList:
        """The model, and what its weights are."""
        model, _ = service.model()
        return ModelList.model_validate(
            {
                "data": [
                    {
                        "id": service.settings.model,
                        "created": service.started,
                        "owned_by": service.card.hub_id.split("/")[0] if service.card else "local",
                        "weights": str(models.weights(model.model)),
                        "dimensions": model.dims,
                        "max_tokens": model.max_tokens,
                        "matryoshka": bool(service.card and service.card.matryoshka),
                        "prompts": {side: text for side, text in model.model.prompts.items() if text},
                    }
                ]
            }
        )

    @app.get("/health", responses={503: errors[503]})
    async def health() -> dict[str, str]:
        """200 if the model is ready, 503 while it loads; needs no key. If its worker dies the process ends."""
        service.model()
        return {"status": "ok"}

    @app.get("/metrics", dependencies=locked, responses={200: {"content": {"text/plain": {}}}, 401: errors[401]})
    async def metrics() -> Response:
        """What Prometheus reads."""
        service.metrics.queue.set(service.batcher.queue_tokens if service.batcher else 0)
        service.metrics.ready.set(service.ready)
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return app


app = create_app()
