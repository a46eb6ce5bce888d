"""Exercise 06: shorten vectors by Nomic's recipe, choose a size, search long documents, encode for a task."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional

from helpers import bundled, data, models
from helpers.checks.judges import ByReference, Embeddings, MalformedError, Number, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
PREFIXES = {task: f"{task}: " for task in ("search_query", "search_document", "clustering", "classification")}


# 06.1


def matryoshka(embeddings: torch.Tensor, dims: int) -> torch.Tensor:
    """Reference: layer norm over the full vector, slice, unit length (the model card of nomic-embed-text-v1.5)."""
    return functional.normalize(layer_norm(embeddings)[:, :dims], dim=1)


def layer_norm(vectors: torch.Tensor) -> torch.Tensor:
    """Each row with a mean of 0 and a variance of 1."""
    return functional.layer_norm(vectors, (vectors.shape[1],))


def _recipe_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for n, d, dims in ((6, 24, 10), (12, 12, 5), (5, 64, 16)):
        offset = 0.5 + torch.rand(n, 1, generator=draw)
        length = 0.2 + 3 * torch.rand(n, 1, generator=draw)
        cases.append(((torch.randn(n, d, generator=draw) + offset) * length, dims))
    return cases


RECIPE = ByReference(
    matryoshka,
    Vectors("keep `dims` columns of every row", atol=1e-4),
    "Layer norm over each full vector, slice, then L2-normalise.",
    mistakes={
        "that is a slice, made unit length, without the layer norm": lambda e, d: functional.normalize(e[:, :d], dim=1),
        "the layer norm came after the slice; it must see all numbers of a vector": lambda e, d: functional.normalize(
            layer_norm(e[:, :d]), dim=1
        ),
        "the layer norm ran down the columns, over the texts; it belongs to each vector (`dim=1`)": lambda e, d: (
            functional.normalize(layer_norm(e.T).T[:, :d], dim=1)
        ),
        "these aren't unit vectors yet; a dot product would favour the longer ones. Normalise last": lambda e, d: (
            layer_norm(e)[:, :d]
        ),
        "they were normalised before the slice, so they are too short now. Normalise last": lambda e, d: matryoshka(
            e, e.shape[1]
        )[:, :d],
        "you kept the last numbers; in a Matryoshka vector the first ones say most": lambda e, d: functional.normalize(
            layer_norm(e)[:, -d:], dim=1
        ),
    },
)


# 06.2


def smallest_size(
    scores: dict[int, Floats],
    keep: float,
    *,
    enough: Callable[[Floats, Floats, float], Any] = lambda short, full, keep: interval(short - keep * full)[0] >= 0,
    order: Callable[[dict[int, Floats]], Iterable[int]] = sorted,
) -> int:
    """Reference: the fewest dimensions whose paired difference `short - keep * full` is surely not below 0."""
    full = max(scores)
    return next((dims for dims in order(scores) if enough(scores[dims], scores[full], keep)), full)


def interval(values: Floats) -> tuple[float, float]:
    """The ends of the normal 95% interval of a mean."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _size_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    # (keep, range of the full scores, share of it and spread of each shorter size, order in the dictionary)
    plans = [
        (0.95, (0.30, 1.00), [(0.85, 0.05), (0.955, 0.12), (0.98, 0.02), (1.015, 0.01)], "42031"),
        (0.95, (0.66, 0.72), [(0.85, 0.05), (0.955, 0.12), (0.98, 0.02), (1.015, 0.01)], "30412"),
        (0.95, (0.30, 1.00), [(0.945, 0.12), (0.955, 0.12), (0.98, 0.02), (1.015, 0.01)], "31420"),
        (0.90, (0.97, 1.00), [(0.80, 0.05), (0.905, 0.12), (0.93, 0.02), (0.97, 0.01)], "34102"),
    ]
    return [_drawn(draw, *plan) for plan in plans]


def _drawn(
    draw: np.random.Generator,
    keep: float,
    full_range: tuple[float, float],
    sizes: list[tuple[float, float]],
    order: str,
) -> Case:
    """A case of one plan; drawn again until the third of five sizes is the answer, with room to either side."""
    smallest = int(draw.choice([16, 24, 32]))
    dims = [smallest * 2**i for i in range(5)]
    while True:
        full = draw.uniform(*full_range, int(draw.integers(70, 100)))
        short = [share * full + draw.normal(0, spread, len(full)) for share, spread in sizes]
        scores = {dims[i]: [*short, full][i] for i in map(int, order)}
        ends = [interval(s - keep * full) for s in short]
        alone = [(bottom - keep * full.mean(), top - keep * full.mean()) for bottom, top in map(interval, short)]
        clear = all(abs(bottom) > 0.05 * (top - bottom) for bottom, top in (*ends, *alone))
        ranked = [s.mean() >= keep * full.mean() for s in short]
        tops = [top >= 0 for _, top in ends]
        if (
            clear
            and [bottom >= 0 for bottom, _ in ends] == [False, False, True, True]
            and ranked == [False, True, True, True]
            and tops == [sizes[0][0] > 0.9, True, True, True]
        ):
            return scores, keep


def _among_the_sizes(size: float, scores: dict[int, Floats], keep: float) -> float:
    if size not in scores:
        raise MalformedError(f"it returns {size:g}; return one of the sizes, {', '.join(map(str, sorted(scores)))}.")
    return size


def _lower_ends(scores: dict[int, Floats], keep: float) -> str:
    full = scores[max(scores)]
    return ", ".join(f"{interval(scores[dims] - keep * full)[0]:.3f} for {dims}" for dims in sorted(scores))


SIZE = ByReference(
    smallest_size,
    Number("return one of the sizes", rtol=0, show=".0f"),
    "From the smallest size up, look for the first lower end that isn't below 0.",
    about=lambda scores, keep: f" (the lower ends are {_lower_ends(scores, keep)})",
    judged=_among_the_sizes,
    mistakes={
        "you looked at the mean alone; its interval reaches below what you must keep. Use the lower end": {
            "enough": lambda s, f, keep: s.mean() >= keep * f.mean()
        },
        "you looked at the upper end, which is the best that could be hoped for. Use the lower end": {
            "enough": lambda s, f, keep: interval(s - keep * f)[1] >= 0
        },
        "that takes the interval of the short scores on their own; the same queries ran at both sizes, so take the "
        "interval of the differences": {"enough": lambda s, f, keep: interval(s)[0] >= keep * f.mean()},
        "that holds an absolute score against `keep`; it is a share of the full length's score": {
            "enough": lambda s, f, keep: interval(s)[0] >= keep
        },
        "that is the spread of single queries; the mean's standard error is smaller by the root of their number": {
            "enough": lambda s, f, keep: (s - keep * f).mean() >= 1.96 * (s - keep * f).std()
        },
        "that asks for all of the quality; multiply the full scores by `keep`": {
            "enough": lambda s, f, keep: interval(s - f)[0] >= 0
        },
        "that is the largest that will do; the smallest is asked for": {
            "order": lambda scores: sorted(scores, reverse=True)
        },
        "you took the first that fits in the dictionary's order, which isn't sorted": {"order": list},
    },
)


# 06.3


def best_passage_scores(
    query: Floats,
    documents: Sequence[str],
    encode: Callable[[list[str]], Any],
    size: int,
    overlap: int,
    *,
    starts: Callable[[int, int, int], Iterable[int]] = lambda words, size, overlap: range(
        0, max(1, words - overlap), size - overlap
    ),
    over: Callable[[Floats], Any] = np.max,
) -> Floats:
    """Reference: a document scores what the best of its overlapping passages scores."""
    scores = []
    for words in map(str.split, documents):
        passages = [" ".join(words[start : start + size]) for start in starts(len(words), size, overlap)]
        scores.append(over(np.asarray(encode(passages), dtype=float) @ np.asarray(query, dtype=float)))
    return np.array(scores)


@cache
def _static() -> SentenceTransformer:
    return bundled.static()


def _passage_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    encode = _static().encode
    texts = [text.split() for text in data.long_documents().corpus.values()]
    cases: list[Case] = []
    for number in range(3):
        size = int(draw.integers(40, 61))
        overlap = int(draw.integers(12, 21))
        step = size - overlap
        # Lengths at which a passage of a few words hangs on, at which one is cut off, and at which all fit in one.
        lengths = [3 * step + 8, 2 * step + overlap + 8, size - 5, *(int(n) for n in draw.integers(150, 400, 4))]
        places = draw.choice(len(texts), len(lengths), replace=False)
        documents = [" ".join(texts[i][80 : 80 + n]) for i, n in zip(places, lengths, strict=True)]
        tail = documents[number % 2].split()[-8:]  # what the end of the first or the second document says
        cases.append((encode(" ".join(tail)), documents, encode, size, overlap))
    return cases


PASSAGES = ByReference(
    best_passage_scores,
    Vectors("one score a document, in their order", atol=1e-4),
    "Cut into passages, encode them, take each document's highest similarity.",
    about=lambda query, documents, encode, size, overlap: f" (passages of {size} words with an overlap of {overlap})",
    mistakes={
        "that is the mean over the passages, in which a right one drowns. Take the maximum": {"over": np.mean},
        "that is the sum over the passages, which favours long documents. Take the maximum": {"over": np.sum},
        "you scored the whole documents, uncut": lambda q, documents, encode, size, overlap: encode(documents) @ q,
        "only the first passage of each document was read": {"starts": lambda words, size, overlap: [0]},
        "the passages don't overlap; each begins `size - overlap` words after the one before": {
            "starts": lambda words, size, overlap: range(0, words, size)
        },
        "there are gaps between the passages; subtract the overlap from the size": {
            "starts": lambda words, size, overlap: range(0, words, size + overlap)
        },
        "the end of a document is cut off, because its last passage isn't full": {
            "starts": lambda words, size, overlap: range(0, max(1, words - size + 1), size - overlap)
        },
        "a scrap hangs on that lies inside the passage before; stop with the first that reaches the end": {
            "starts": lambda words, size, overlap: range(0, words, size - overlap)
        },
        "these are document numbers (a ranking); return the scores themselves": lambda *case: np.argsort(
            -best_passage_scores(*case)
        ),
    },
)


# 06.4


def encode_for(
    model: SentenceTransformer,
    texts: list[str],
    task: str,
    *,
    prefix: Callable[[str], str] = lambda task: PREFIXES[task],
) -> Any:
    """Reference: each text behind the prefix of the task."""
    return model.encode([prefix(task) + text for text in texts])


@cache
def _nomic() -> SentenceTransformer:
    model = models.load("nomic-ai/nomic-embed-text-v1.5", source="stand-in", device="cpu")
    model.prompts |= {"clustering": "clustering: ", "classification": "classification: "}
    return model


def _task_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    texts = sorted(data.retrieval().queries.values())
    return [(_nomic(), [str(text) for text in draw.choice(texts, 3, replace=False)], task) for task in PREFIXES]


OTHER_SIDE = {task: task for task in PREFIXES} | {"search_query": "search_document", "search_document": "search_query"}
PREFIX = ByReference(
    encode_for,
    Embeddings("one row a text"),
    "Print `nomic.prompts` and pass the right key as `prompt_name=`.",
    about=lambda model, texts, task: f" for {task}",
    mistakes={
        "only the search tasks got their prefix": {"prefix": lambda task: f"{task}: " if "search" in task else ""},
        "query and document have changed places": {"prefix": lambda task: PREFIXES[OTHER_SIDE[task]]},
        "the key of the prompt was glued on, not its prefix": {"prefix": lambda task: task.split("_")[-1] + ": "},
        "no prefix arrived": {"prefix": lambda task: ""},
        "the prefix arrived twice, by hand and as a prompt": {"prefix": lambda task: PREFIXES[task] * 2},
        "every text was encoded as a query": {"prefix": lambda task: PREFIXES["search_query"]},
        "every text was encoded as a document": {"prefix": lambda task: PREFIXES["search_document"]},
        "the task's name arrived without its colon": {"prefix": lambda task: f"{task} "},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("06.1", _recipe_cases, RECIPE),
        Task("06.2", _size_cases, SIZE),
        Task("06.3", _passage_cases, PASSAGES),
        Task("06.4", _task_cases, PREFIX),
    )
}
