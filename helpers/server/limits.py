"""The limits on what a client can send, each with its answer: inputs, characters, tokens, dimensions, token ids.

What can be refused before a text is tokenized is refused then: tokenizing takes a tenth of the time of encoding, for
each token that is sent and not only for those that the model reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from helpers.catalog import Card
from helpers.encode.tokens import Row, TokenizedModel
from helpers.server.parsing import parse
from helpers.server.settings import Settings
from helpers.server.wire import FEWER, ApiError, EmbeddingRequest

CHARS_PER_TOKEN = 40  # so many a token that the model reads, and a text is refused; of English about 4 are one
STEP_CHARS = 65_536  # tokenized at a time: a fraction of a second, in which other requests wait


@dataclass(frozen=True)
class Tokenized:
    """Token ids of each input, and the places of those that were cut."""

    rows: list[Row] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Limits:
    """What requests are held against: the settings, the model, and its row in the catalogue if it has one."""

    settings: Settings
    model: TokenizedModel
    card: Card | None = None

    @property
    def max_chars(self) -> int:
        """Characters a text."""
        return self.settings.max_text_chars or CHARS_PER_TOKEN * self.model.max_tokens

    def read(self, body: bytes) -> EmbeddingRequest:
        """A request that keeps every limit that is known before its texts are tokenized.

        Raises:
            ApiError: a limit is passed, or the request can't be understood.
        """
        request = parse(body)
        self._check_model(request)
        self._check_dimensions(request)
        inputs: Sequence[str | Row] = request.inputs()
        if len(inputs) > self.settings.max_inputs:
            message = f"{len(inputs)} inputs, and {self.settings.max_inputs} a request is the limit; {FEWER}."
            raise ApiError(400, message, param="input")
        for i, text in enumerate(inputs):
            if isinstance(text, str):
                self._check_length(i, text)
            else:
                self._check_ids(i, text, request)
        return request

    def estimate(self, request: EmbeddingRequest) -> int:
        """About how many tokens the model will read, to reserve their room before they are counted."""
        frame = len(self.model.before) + len(self.model.after)
        sizes = [len(i) // 4 + 1 + frame if isinstance(i, str) else len(i) for i in request.inputs()]
        return min(sum(min(size, self.model.max_tokens) for size in sizes), self.settings.max_queue_tokens)

    def tokenize(self, request: EmbeddingRequest, found: Tokenized) -> Iterator[bool]:
        """Tokenize a request step by step, so that it can be given up in between; yields True after each step.

        Raises:
            ApiError: at the first text that is too long, or once the request has more tokens than the queue takes.
        """
        cut = self.settings.truncate if request.truncate is None else request.truncate
        inputs, total = request.inputs(), 0
        for rows in self._steps(inputs, self._prompt(request)):
            for row in rows:
                if len(row) > self.model.max_tokens:
                    if not cut:
                        raise self._too_long(len(found.rows), row)
                    found.truncated.append(len(found.rows))
                found.rows.append(self.model.cut(row))
                total += len(found.rows[-1])
                if total > self.settings.max_queue_tokens:
                    raise ApiError(
                        413,
                        f"The first {len(found.rows)} of {len(inputs)} inputs have {total} tokens, and "
                        f"{self.settings.max_queue_tokens} a request is the limit; {FEWER}.",
                        param="input",
                    )
            yield True

    def _steps(self, inputs: Sequence[str | Row], prompt: str) -> Iterator[list[Row]]:
        """Token ids of as many inputs at a time as make a step."""
        start, size = 0, 0
        for end, text in enumerate(inputs, 1):
            size += len(text)
            if size >= STEP_CHARS or end == len(inputs):
                yield [
                    *self.model.tokenize([prompt + text for text in inputs[start:end] if isinstance(text, str)]),
                    *(row for row in inputs[start:end] if not isinstance(row, str)),
                ]
                start, size = end, 0

    def _prompt(self, request: EmbeddingRequest) -> str:
        name = request.input_type or self.model.model.default_prompt_name
        return (self.model.model.prompts.get(name) or "") if name else ""

    def _too_long(self, place: int, row: Row) -> ApiError:
        return ApiError(
            400,
            f"Input {place} has {len(row)} tokens and the model reads {self.model.max_tokens}; shorten it, or send "
            "truncate: true.",
            param="input",
            code="context_length_exceeded",
        )

    def _check_model(self, request: EmbeddingRequest) -> None:
        names = {self.settings.model} | ({self.card.name, self.card.hub_id} if self.card else set())
        if request.model not in names:
            raise ApiError(
                404,
                f"There is no model {request.model[:80]!r} here; there is {self.settings.model!r}.",
                param="model",
                code="model_not_found",
            )

    def _check_length(self, place: int, text: str) -> None:
        if len(text) > self.max_chars:
            raise ApiError(
                413,
                f"Input {place} has {len(text)} characters, and {self.max_chars} is the limit, for the model reads "
                f"{self.model.max_tokens} tokens; split it, or send its beginning alone.",
                param="input",
                code="context_length_exceeded",
            )

    def _check_ids(self, place: int, row: Row, request: EmbeddingRequest) -> None:
        if self._prompt(request):
            raise ApiError(400, "A prompt can't be put before token ids; send texts.", param="input_type")
        if not self.model.own(row):
            raise ApiError(
                400,
                f"Input {place}: these are no token ids of {self.settings.model}, which begin with "
                f"{self.model.before} and end with {self.model.after}; send texts (in LangChain, "
                "check_embedding_ctx_length=False).",
                param="input",
                code="foreign_token_ids",
            )

    def _check_dimensions(self, request: EmbeddingRequest) -> None:
        if request.dimensions is None or request.dimensions == self.model.dims:
            return
        if not (self.card and self.card.matryoshka):
            raise ApiError(
                400,
                f"{self.settings.model} isn't trained to be cut; leave dimensions out, or send {self.model.dims}.",
                param="dimensions",
            )
        if request.dimensions > self.model.dims:
            raise ApiError(400, f"dimensions must be 1 to {self.model.dims}.", param="dimensions")
