"""The routes of the server, OpenAI's API: `uvicorn helpers.server:create_app --factory`."""

import asyncio
import hmac
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from helpers import models
from helpers.server.service import Service, log
from helpers.server.settings import Settings
from helpers.server.stopping import LastAnswers
from helpers.server.telemetry import Counted, log_json
from helpers.server.wire import ApiError, EmbeddingRequest, EmbeddingResponse, ErrorBody, ModelList

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": why}
    for status, why in {
        400: "Something in the request is wrong", 401: "No valid key", 404: "No such model",
        408: "The body came too slowly", 413: "Too large", 429: "The queue is full; Retry-After says how long",
        500: "The server failed, or a vector isn't finite", 503: "Not ready",
    }.items()
}  # fmt: skip


class Lock(HTTPBearer):
    """Lets in whoever sends one of the keys, and everybody if there are none."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(scheme_name="HTTPBearer")
        self.keys = keys

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        """Raise ApiError 401 for a wrong key, or none."""
        if not self.keys:
            return
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        given = sent.strip().encode() if scheme.lower() == "bearer" else b""
        # A list, so that every key is compared: how long it takes tells nothing.
        if not any([hmac.compare_digest(given, key) for key in self.keys]):
            message = "The API key is missing or wrong; send it as 'Authorization: Bearer <key>'."
            raise ApiError(401, message, code="invalid_api_key", WWW_Authenticate="Bearer")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings come from the environment unless given."""
    service = Service(settings or Settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log_json()
        service.stopping.listen()
        loading = asyncio.create_task(service.start())
        yield
        await loading
        await service.stop()

    locked = [Depends(Lock(service.settings.keys))]
    app = FastAPI(title="Embedding server", version="1", lifespan=lifespan)
    app.state.service = service
    app.add_middleware(Counted, metrics=service.metrics)
    app.add_middleware(LastAnswers, stopping=service.stopping)

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
        responses={200: {"model": EmbeddingResponse}, **ERRORS},
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
            service.metrics.abandoned.inc(error.status == 499)
            response = await api_error(request, error)
        except Exception:
            log.exception("failed", extra={"fields": {"id": fields["id"]}})
            response = await api_error(request, ApiError(500, f"The server failed; its log has {fields['id']}."))
        seconds = time.perf_counter() - start
        response.headers["X-Request-Id"] = str(fields["id"])
        log.info("request", extra={"fields": fields | {"status": response.status_code, "ms": round(1000 * seconds)}})
        return response

    @app.head("/v1/models", dependencies=locked, include_in_schema=False)
    @app.get("/v1/models", dependencies=locked, responses={401: ERRORS[401], 503: ERRORS[503]})
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
                        "precision": service.way,
                        "dimensions": model.dims,
                        "max_tokens": model.max_tokens,
                        "max_characters": service.limits().max_chars,
                        "matryoshka": bool(service.card and service.card.matryoshka),
                        "prompts": {side: text for side, text in model.model.prompts.items() if text},
                    }
                ]
            }
        )

    @app.head("/health", include_in_schema=False)
    @app.get("/health", responses={503: ERRORS[503]})
    async def health() -> dict[str, str]:
        """200 if the model is ready, 503 while it loads; needs no key. If its worker dies the process ends."""
        service.model()
        return {"status": "ok"}

    @app.head("/metrics", dependencies=locked, include_in_schema=False)
    @app.get("/metrics", dependencies=locked, responses={200: {"content": {"text/plain": {}}}, 401: ERRORS[401]})
    async def metrics() -> Response:
        """What Prometheus reads."""
        service.metrics.queue.set(service.batcher.queue_tokens if service.batcher else 0)
        service.metrics.ready.set(service.ready)
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return app
