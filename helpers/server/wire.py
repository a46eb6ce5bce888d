"""What goes over the wire: OpenAI's embeddings API, and three fields more.

`input_type` tells a query from a document, as Cohere, Voyage and vLLM name it; `truncate` allows a text to be
cut; `truncated` in the answer says which were. The routes are `server`'s.
"""

import base64
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter

from helpers.encode.tokens import Floats

Text = Annotated[str, Field(min_length=1)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
# The remedy for a request that is too large, in the terms of the clients that make such requests.
FEWER = "send fewer texts a request (in LangChain set chunk_size, in LlamaIndex embed_batch_size)"


class EmbeddingRequest(BaseModel):
    """Texts to turn into vectors."""

    model_config = ConfigDict(strict=True, extra="forbid")

    input: (
        Text
        | Annotated[list[Text], Field(min_length=1, fail_fast=True)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, fail_fast=True)]
    ) = Field(
        description="A text, several, the model's own token ids (special tokens included), or several lists of them. "
        "A text of which the tokenizer knows nothing, such as blanks, gets the vector of no text.",
        examples=["Where are the keys?", ["Where are the keys?", "On the shelf by the door."]],
    )
    model: str = Field(description="The model's name, as /v1/models lists it.", examples=["all-MiniLM-L6-v2"])
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="float unless set; base64 is of little-endian float32: a quarter of the bytes."
    )
    dimensions: PositiveInt | None = Field(
        default=None, description="The first so many, normalised; fewer than the model's for Matryoshka models only."
    )
    input_type: Literal["query", "document"] | None = Field(
        default=None, description="Puts the model's prompt for queries or documents before each text."
    )
    truncate: bool | None = Field(
        default=None,
        description="Cut texts that are too long for the model, instead of an error; the default is the server's.",
    )
    user: str | None = Field(default=None, description="Accepted for OpenAI's sake, and ignored.")

    def inputs(self) -> list[str] | list[list[int]]:
        """The input as a list, in each of its four forms."""
        one = isinstance(self.input, str) or isinstance(self.input[0], int)
        return [self.input] if one else self.input  # type: ignore[return-value]


class Embedding(BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read, prompts and special tokens included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(BaseModel):
    """Vectors, in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
    truncated: list[int] = Field(description="Places of the inputs that were cut.")


class ServedModel(BaseModel):
    """The model behind this server, and what its weights are."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    weights: str = Field(description="hub, bundled, quantised, local, stand-in or twin, and how to know them.")
    precision: str = Field(description="The way in which it runs: as loaded, or a name of helpers.models.ways.WAYS.")
    dimensions: int
    max_tokens: int
    max_characters: int = Field(description="Of a text; beyond it 413, even where texts may be cut.")
    matryoshka: bool
    prompts: dict[str, str]


class ModelList(BaseModel):
    """The models of this server: one."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class Problem(BaseModel):
    """What was wrong, and the mend."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error in OpenAI's shape."""

    error: Problem


class ApiError(Exception):
    """An answer that is an error: a status, and a sentence for the person."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def gone_away() -> ApiError:
    """What is noted of a request whose client went away; nobody reads it."""
    return ApiError(499, "The client went away.")


_numbers: TypeAdapter[list[float]] = TypeAdapter(list[float])


def answer(vectors: Floats, wanted: EmbeddingRequest, *, model: str, tokens: int, truncated: list[int]) -> bytes:
    """The JSON of an `EmbeddingResponse`."""
    if wanted.encoding_format == "base64":
        found = [b'"%b"' % base64.b64encode(vector.astype("<f4").tobytes()) for vector in vectors]
    else:  # one vector a call: a single call for all would hold the interpreter's lock, and with it the event loop
        found = [_numbers.dump_json(vector.tolist()) for vector in vectors]
    data = b",".join(b'{"object":"embedding","index":%d,"embedding":%b}' % item for item in enumerate(found))
    rest = {
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "truncated": truncated,
    }
    return b'{"object":"list","data":[%b],%b' % (data, json.dumps(rest, separators=(",", ":")).encode("ascii")[1:])
