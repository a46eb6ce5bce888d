"""`load`, the door that most lessons go through: a plain `SentenceTransformer` by its name."""

from pathlib import Path
from typing import get_args

import torch
from sentence_transformers import SentenceTransformer

from helpers import bundled
from helpers.catalog import card, cards
from helpers.errors import CourseError, nearest
from helpers.models.device import choose_device, choose_dtype
from helpers.models.provenance import announce, mark
from helpers.models.sources import PINNED, SOURCES, Folder, Options, Rerun, Source, Way, arguments, pinned
from helpers.models.ways import WAYS
from helpers.packages import PACKAGED


def load(
    name: str,
    *,
    source: Source = "auto",
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformer:
    """Load an embedding model, and print once what its weights are.

    Args:
        name: a catalogue name, full or short (`bge-small-en-v1.5`); a bundled model
            (`bundled.MODELS`); a folder of your own; or any hub model with its revision,
            `org/name@<40 hex digits>`. Behind another `@` a way to run it (`ways.WAYS`).
        source: "auto" takes bundled weights where the course has them, else those of a package that
            `make weights` has fetched, else the hub's (from its local cache, or downloaded), else a
            stand-in, with a notice. "hub", "package", "bundled", "stand-in" and "twin" take that and
            nothing else.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        dtype: "float32", "bfloat16" or "float16"; None is float32 on a CPU and what the weights
            were saved in elsewhere.
        trust_remote_code: allow a model whose catalogue row says so to run its own code, at the
            pinned revision. Read that code first.

    Returns:
        The model, with prompts for `encode_query` and `encode_document` set; `weights` tells its `Weights`.

    Raises:
        CourseError: no such model, no pinned revision, no such device or dtype, weights out of
            reach, or remote code needed and not allowed.
    """
    if source not in get_args(Source):
        raise CourseError(f"source is {source!r}; it must be one of {', '.join(get_args(Source))}.")
    options = Options(choose_device(device), choose_dtype(dtype), trust_remote_code)
    chosen = way(name, source)
    model, made = chosen.load(options)
    mark(model, made)
    announce(Path(name).name if isinstance(chosen, Folder) else name, model)
    return model


def way(name: str, source: Source = "auto") -> Way:
    """How a name is loaded from a source, decided before anything heavy is done.

    Raises:
        CourseError: the source hasn't this name.
    """
    if not name.strip():
        raise CourseError("The model's name is empty; name one, such as 'all-MiniLM-L6-v2'.")
    base, at, how = name.rpartition("@")
    if how in WAYS:
        return Rerun(way(base, source), how)
    for kind in SOURCES[source]:
        if possible := kind.find(name):
            return possible
    if at and _is_there(base, source):  # the way is at fault, not the model
        raise CourseError(
            f"There is no way {how!r} to run a model.{nearest(how, list(WAYS))} After the @ of a name can stand: "
            f"{', '.join(WAYS)}, or a revision's 40 hex digits."
        )
    raise CourseError(_unknown(name, source))


def _is_there(name: str, source: Source) -> bool:
    return any(kind.find(name) for kind in SOURCES[source])


def _unknown(name: str, source: Source) -> str:
    """Why a source hasn't a name, and what to do."""
    if source == "bundled":
        return f"{name!r} isn't bundled; bundled are: {', '.join(bundled.MODELS)}."
    if source == "package":
        return f"{name!r} isn't in a package; in packages are: {', '.join(PACKAGED)}."
    if PINNED.fullmatch(name):
        return f"{name!r} is a hub model outside the catalogue: there is no {source} of it."
    guess = nearest(name, [*bundled.MODELS, *PACKAGED, *(c.name for c in cards())])
    return (
        f"There is no model {name!r} in the catalogue.{guess} A model of your own is named by its folder, "
        "or as org/name@revision with the revision's 40 hex digits."
    )


def code(name: str) -> str:
    """The Python that loads a catalogue model's real weights without this course.

    Raises:
        CourseError: no such model, or no pinned revision.
    """
    facts = card(name)
    given = {"revision": pinned(facts)} | arguments(facts)
    lines = [f"    {argument}={value!r}," for argument, value in given.items()]
    head = "from sentence_transformers import SentenceTransformer"
    return "\n".join([head, "", "model = SentenceTransformer(", f"    {facts.hub_id!r},", *lines, ")"])


def names() -> list[str]:
    """Every name that `load` knows: the bundled models, those in packages, then the rest of the catalogue's."""
    before = [*bundled.MODELS, *PACKAGED]
    return [*before, *(c.hub_id for c in cards() if c.name not in before)]
