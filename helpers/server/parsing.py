"""A request from its JSON, or the sentence that says what is wrong with it, and at which place."""

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from helpers.server.wire import ApiError, EmbeddingRequest

INPUT = "input must be a text, a list of texts, a list of token ids, or a list of such lists, and none of them empty"
EMPTY = ("string_too_short", "too_short")

_request: TypeAdapter[EmbeddingRequest] = TypeAdapter(EmbeddingRequest)


def parse(body: bytes) -> EmbeddingRequest:
    """A request from its JSON.

    Raises:
        ApiError: 400, and names the field, and the input by its place; the texts are never repeated.
    """
    try:
        return _request.validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    problem = problems[0]
    if not problem["loc"]:
        raise ApiError(400, f"The body is no JSON object in UTF-8: {problem['msg']}.", code="invalid_json")
    field = str(problem["loc"][0])
    if field == "input":
        raise ApiError(400, _about_input([found for found in problems if found["loc"][0] == "input"]), param="input")
    if field not in EmbeddingRequest.model_fields:
        known = ", ".join(EmbeddingRequest.model_fields)
        raise ApiError(400, f"There is no field {field[:40]!r}; there are {known}.")
    raise ApiError(400, f"{field}: {problem['msg']}.", param=field)


def _about_input(problems: list[ErrorDetails]) -> str:
    """The sentence for a wrong input: each of its four forms has a problem, and the one that came furthest counts."""
    places = [(next((i for i in found["loc"] if isinstance(i, int)), -1), found["type"] in EMPTY) for found in problems]
    place, empty = max(places)
    if place < 0:
        return f"{INPUT}."
    wrong = "is empty; leave it out" if empty else "is of another kind than those before it, or of none that there is"
    return f"Input {place} {wrong}: {INPUT}."
