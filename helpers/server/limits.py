"""The limits on what a client can send, each with its answer: bytes, inputs, tokens, dimensions, token ids."""

from dataclasses import dataclass

from fastapi import Request

from helpers.catalog import Card
from helpers.encode.tokens import Row, TokenizedModel
from helpers.server.settings import Settings
from helpers.server.wire import ApiError, EmbeddingRequest, parse


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


@dataclass(frozen=True)
class Limits:
    """What requests are held against: the settings, the model, and its row in the catalogue if it has one."""

    settings: Settings
    model: TokenizedModel
    card: Card | None = None

    def prepare(self, body: bytes) -> tuple[EmbeddingRequest, list[Row], list[int]]:
        """A request, its token ids, and the places of texts that were cut.

        Raises:
            ApiError: a limit is passed, or the request can't be understood.
        """
        request = parse(body)
        self._check_model(request)
        inputs = request.inputs()
        if len(inputs) > self.settings.max_inputs:
            raise ApiError(
                400, f"{len(inputs)} inputs; send at most {self.settings.max_inputs} a request.", param="input"
            )
        self._check_dimensions(request)
        rows = self._rows(inputs, request)
        long = [i for i, row in enumerate(rows) if len(row) > self.model.max_tokens]
        if long and not (self.settings.truncate if request.truncate is None else request.truncate):
            raise ApiError(
                400,
                f"Input {long[0]} has {len(rows[long[0]])} tokens and the model reads {self.model.max_tokens} "
                f"(too long: {len(long)} of {len(rows)}); shorten it, or send truncate: true.",
                param="input",
                code="context_length_exceeded",
            )
        rows = [self.model.cut(row) for row in rows]
        if sum(map(len, rows)) > self.settings.max_queue_tokens:
            raise ApiError(
                413,
                f"{sum(map(len, rows))} tokens; send at most {self.settings.max_queue_tokens} a request.",
                param="input",
            )
        return request, rows, long

    def _check_model(self, request: EmbeddingRequest) -> None:
        names = {self.settings.model} | ({self.card.name, self.card.hub_id} if self.card else set())
        if request.model not in names:
            raise ApiError(
                404,
                f"There is no model {request.model[:80]!r} here; there is {self.settings.model!r}.",
                param="model",
                code="model_not_found",
            )

    def _rows(self, inputs: list[str] | list[Row], request: EmbeddingRequest) -> list[Row]:
        prompts = self.model.model.prompts
        name = request.input_type or self.model.model.default_prompt_name
        prompt = (prompts.get(name) or "") if name else ""
        if isinstance(inputs[0], str):
            return self.model.tokenize([f"{prompt}{text}" for text in inputs])
        rows = inputs
        if prompt:
            raise ApiError(400, "A prompt can't be put before token ids; send texts.", param="input_type")
        for i, row in enumerate(rows):
            if not self.model.own(row):
                raise ApiError(
                    400,
                    f"Input {i}: these are no token ids of {self.settings.model}, which begin with "
                    f"{self.model.before} and end with {self.model.after}; send texts (in LangChain, "
                    "check_embedding_ctx_length=False).",
                    param="input",
                    code="foreign_token_ids",
                )
        return rows

    def _check_dimensions(self, request: EmbeddingRequest) -> None:
        if request.dimensions is None:
            return
        if not (self.card and self.card.matryoshka):
            raise ApiError(
                400, f"{self.settings.model} isn't trained to be cut; leave dimensions out.", param="dimensions"
            )
        if request.dimensions > self.model.dims:
            raise ApiError(400, f"dimensions must be 1 to {self.model.dims}.", param="dimensions")
