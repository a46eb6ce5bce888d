"""How vectors are asked for: of an HTTP endpoint in one of three dialects, or of a loaded model."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers.errors import CourseError
from helpers.parity.reference import Floats, Side

Ask = Callable[[list[str], Side], Floats]
TIMEOUT_S = 120
PATHS = {"openai": "/v1/embeddings", "tei": "/embed", "ollama": "/api/embed", "vllm": "/v1/embeddings"}
MORE: dict[str, dict[str, Any]] = {"tei": {"truncate": True}, "vllm": {"truncate_prompt_tokens": -1}}  # cut, not refuse


class RefusedError(CourseError):
    """The endpoint refuses a text, as one that is too long."""


def endpoint(url: str, model: str, *, key: str = "", route: str = "auto", prompts: dict[str, str] | None = None) -> Ask:
    """An endpoint that speaks OpenAI's, Text Embeddings Inference's or Ollama's protocol, or OpenAI's as vLLM does.

    Args:
        url: its address, such as http://127.0.0.1:8080.
        model: the name by which it is asked for.
        key: sent as a bearer token.
        route: "openai", "tei", "ollama", "vllm" (as openai, but long texts are cut instead of refused), or "auto": the
            first that isn't 404.
        prompts: put before a query or a document here, since the dialects have no field for them.

    Raises:
        CourseError: nobody answers there, in any dialect.
    """
    client = httpx.Client(
        base_url=url.rstrip("/").removesuffix("/v1"),
        timeout=TIMEOUT_S,
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )
    if route != "auto" and route not in PATHS:
        raise CourseError(f"There is no route {route!r}; it can be auto, {', '.join(PATHS)}.")
    chosen = route if route != "auto" else _route(client, url, model)

    def ask(texts: list[str], side: Side = "") -> Floats:
        before = (prompts or {}).get(side, "")
        return _vectors(_post(client, url, chosen, model, [before + text for text in texts]), len(texts))

    return ask


def of_model(model: SentenceTransformer) -> Ask:
    """A loaded model, by the library's own methods."""

    def ask(texts: list[str], side: Side = "") -> Floats:
        encode: Any = model.encode if not side else model.encode_query if side == "query" else model.encode_document
        return np.asarray(encode(texts, show_progress_bar=False), dtype=np.float64)

    return ask


def _route(client: httpx.Client, url: str, model: str) -> str:
    for name in PATHS:
        if _send(client, url, name, model, ["where"]).status_code not in (404, 405):
            return name
    raise CourseError(f"{url}: there is none of {', '.join(PATHS.values())}; name the server's root.")


def _send(client: httpx.Client, url: str, route: str, model: str, texts: list[str]) -> httpx.Response:
    body = {"inputs": texts} if route == "tei" else {"model": model, "input": texts}
    try:
        return client.post(PATHS[route], json=body | MORE.get(route, {}))
    except httpx.HTTPError as error:
        raise CourseError(f"{url}: nobody answers ({type(error).__name__}); is the server running there?") from None


def _post(client: httpx.Client, url: str, route: str, model: str, texts: list[str]) -> Any:
    response = _send(client, url, route, model, texts)
    if response.status_code in (400, 413, 422):
        raise RefusedError(f"{url} refuses {texts[0][:40]!r} with {response.status_code}: {response.text[:200]}")
    if response.status_code != 200:
        raise CourseError(f"{url} answers {response.status_code}: {response.text[:200]}")
    return response.json()


def _vectors(answer: Any, many: int) -> NDArray[np.float64]:
    """(n, d) out of an answer of any dialect; OpenAI's in the order of its own `index`."""
    found = answer
    if isinstance(answer, dict):
        found = answer.get("embeddings", answer.get("data", []))
        if found and isinstance(found[0], dict):
            found = [row["embedding"] for row in sorted(found, key=lambda row: row.get("index", 0))]
    try:
        vectors = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        vectors = np.empty(0)
    if vectors.ndim != 2 or len(vectors) != many:
        raise CourseError(f"The endpoint gave no list of {many} vectors, but {str(answer)[:80]}.")
    return vectors
