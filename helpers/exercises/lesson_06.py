"""Exercise 06: shorten vectors by Nomic's recipe, choose a size, search long documents, encode for a task."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional

from helpers import bundled, data, models
from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[np.float64]
PREFIXES = {task: f"{task}: " for task in ("search_query", "search_document", "clustering", "classification")}


def matryoshka(embeddings: torch.Tensor, dims: int) -> torch.Tensor:
    """Reference: layer norm over the full vector, slice, unit length (the model card of nomic-embed-text-v1.5)."""
    normed = functional.layer_norm(embeddings, (embeddings.shape[1],))
    return functional.normalize(normed[:, :dims], dim=1)


def _recipe_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for n, d, dims in ((6, 24, 10), (12, 12, 5), (5, 64, 16)):
        offset = 0.5 + torch.rand(n, 1, generator=draw)
        length = 0.2 + 3 * torch.rand(n, 1, generator=draw)
        cases.append(((torch.randn(n, d, generator=draw) + offset) * length, dims))
    return cases


def _plain(value: Any) -> Any:
    """An answer as NumPy or torch has it, without the gradient that `torch.nn.LayerNorm` attaches."""
    return value.detach() if isinstance(value, torch.Tensor) else np.asarray(value)


def _judge_recipe(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (embeddings, dims), value in zip(cases, values, strict=True):
        right, got = matryoshka(embeddings, dims), torch.as_tensor(_plain(value)).float()
        if got.shape == right.shape and torch.allclose(got, right, atol=1e-4):
            continue
        n, d = embeddings.shape
        if got.shape != right.shape:
            return f"the shape is {tuple(got.shape)}, and it should be ({n}, {dims}): keep `dims` columns of every row."
        first = f"{got[0, 0]:.3f} instead of {right[0, 0]:.3f} in the first place"
        normed, unit = functional.layer_norm(embeddings, (d,)), functional.normalize(embeddings, dim=1)
        over_texts = (embeddings - embeddings.mean(dim=0)) / embeddings.std(dim=0, correction=0)
        known = {
            "that is a slice, made unit length, without the layer norm": functional.normalize(unit[:, :dims], dim=1),
            "the layer norm came after the slice; it must see all numbers of a vector": functional.normalize(
                functional.layer_norm(embeddings[:, :dims], (dims,)), dim=1
            ),
            "the layer norm ran down the columns, over the texts; it belongs to each vector (`dim=1`)": (
                functional.normalize(over_texts[:, :dims], dim=1)
            ),
            "these aren't unit vectors yet: a dot product would favour the longer ones. Normalise last": normed[
                :, :dims
            ],
            "they were normalised before the slice, so they are too short now. Normalise last": (
                functional.normalize(normed, dim=1)[:, :dims]
            ),
            "you kept the last numbers; in a Matryoshka vector the first ones say most": functional.normalize(
                normed[:, -dims:], dim=1
            ),
        }
        for sentence, mistake in known.items():
            if torch.allclose(got, mistake, atol=1e-4):
                return f"{sentence}: {first}."
        return f"the vectors are wrong: {first}. Layer norm over each full vector, slice, then L2-normalise."
    return None


def smallest_size(scores: dict[int, Floats], keep: float) -> int:
    """Reference: the fewest dimensions whose paired difference `short - keep * full` is surely not below 0."""
    return _smallest(scores, lambda short, full: _interval(short - keep * full)[0] >= 0)


def _smallest(scores: dict[int, Floats], enough: Callable[[Floats, Floats], bool]) -> int:
    full = max(scores)
    return next((dims for dims in sorted(scores) if enough(scores[dims], scores[full])), full)


def _interval(values: Floats) -> tuple[float, float]:
    """The ends of the normal 95% interval of a mean."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _size_mistakes(scores: dict[int, Floats], keep: float) -> dict[str, int]:
    """What each usual mistake answers."""
    full = scores[max(scores)]
    fits = [dims for dims in scores if _interval(scores[dims] - keep * full)[0] >= 0]
    return {
        "you looked at the mean alone; its interval reaches below what you must keep. Use the lower end": _smallest(
            scores, lambda s, f: s.mean() >= keep * f.mean()
        ),
        "you looked at the upper end, which is the best that could be hoped for. Use the lower end": _smallest(
            scores, lambda s, f: _interval(s - keep * f)[1] >= 0
        ),
        "that holds an absolute score against `keep`; it is a share of the full length's score": _smallest(
            scores, lambda s, f: _interval(s)[0] >= keep
        ),
        "that takes the interval of the short scores on their own; the same queries ran at both sizes, so take the "
        "interval of the differences": _smallest(scores, lambda s, f: _interval(s)[0] >= keep * f.mean()),
        "that asks for all of the quality; multiply the full scores by `keep`": _smallest(
            scores, lambda s, f: _interval(s - f)[0] >= 0
        ),
        "that is the spread of single queries; the mean's standard error is smaller by the root of their number": (
            _smallest(scores, lambda s, f: (s - keep * f).mean() - 1.96 * (s - keep * f).std() >= 0)
        ),
        "that is the largest that will do; the smallest is asked for": max(fits),
        "you took the first that fits in the dictionary's order, which isn't sorted": fits[0],
    }


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
        ends = [_interval(s - keep * full) for s in short]
        alone = [(bottom - keep * full.mean(), top - keep * full.mean()) for bottom, top in map(_interval, short)]
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


def _judge_size(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [_whole(value) for value in values]
    right = [smallest_size(*case) for case in cases]
    if got == right:
        return None
    for (scores, _), value, given in zip(cases, got, values, strict=True):
        if value not in scores:
            return f"it returns {given!r}; return one of the sizes, {', '.join(map(str, sorted(scores)))}."
    wrong = next(i for i in range(len(cases)) if got[i] != right[i])
    scores, keep = cases[wrong]
    bottom, top = _interval(scores[got[wrong]] - keep * scores[max(scores)])
    told = f"{got[wrong]} instead of {right[wrong]} (its interval runs from {bottom:.3f} to {top:.3f})"
    mistakes = [_size_mistakes(*case) for case in cases]
    for sentence in mistakes[0]:
        if got == [mistake[sentence] for mistake in mistakes]:
            return f"{sentence}: {told}."
    return f"{told}. From the smallest size up, look for the first lower end that isn't below 0."


def _whole(value: Any) -> int:
    number = int(value)
    if number != value:
        raise ValueError(f"{value} is no whole number")
    return number


def best_passage_scores(
    query: Floats, documents: Sequence[str], encode: Callable[[list[str]], Any], size: int, overlap: int
) -> Floats:
    """Reference: a document scores what the best of its overlapping passages scores."""
    case = query, documents, encode, size, overlap
    return _over_passages(case, lambda n: range(0, max(1, n - overlap), size - overlap))


def _over_passages(
    case: Case, starts: Callable[[int], Sequence[int]], combine: Callable[[Floats], Any] = np.max
) -> Floats:
    """Scores of a case's documents over passages that begin at `starts(words)`."""
    query, documents, encode, size, _ = case
    scores = []
    for text in documents:
        words = text.split()
        parts = [" ".join(words[start : start + size]) for start in starts(len(words))]
        scores.append(combine(np.asarray(encode(parts), dtype=float) @ np.asarray(query, dtype=float)))
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
        chosen = draw.choice(len(texts), len(lengths), replace=False)
        documents = [" ".join(texts[i][80 : 80 + n]) for i, n in zip(chosen, lengths, strict=True)]
        tail = documents[number % 2].split()[-8:]  # what the end of the first or the second document says
        cases.append((encode(" ".join(tail)), documents, encode, size, overlap))
    return cases


def _passage_mistakes(case: Case) -> dict[str, Floats]:
    """What each usual mistake answers."""
    query, documents, encode, size, overlap = case
    step = size - overlap

    def proper(n: int) -> range:
        return range(0, max(1, n - overlap), step)

    def over(starts: Callable[[int], Sequence[int]], combine: Callable[[Floats], Any] = np.max) -> Floats:
        return _over_passages(case, starts, combine)

    return {
        "that is the mean over the passages, in which a right one drowns. Take the maximum": over(proper, np.mean),
        "that is the sum over the passages, which favours long documents. Take the maximum": over(proper, np.sum),
        "you scored the whole documents, uncut": np.asarray(encode(list(documents))) @ query,
        "only the first passage of each document was read": over(lambda n: [0]),
        "the passages don't overlap; each begins `size - overlap` words after the one before": over(
            lambda n: range(0, n, size)
        ),
        "there are gaps between the passages: subtract the overlap from the size": over(
            lambda n: range(0, n, size + overlap)
        ),
        "the end of a document is cut off, because its last passage isn't full": over(
            lambda n: range(0, max(1, n - size + 1), step)
        ),
        "a scrap hangs on that lies inside the passage before; stop with the first that reaches the end": (
            over(lambda n: range(0, n, step))
        ),
    }


def _judge_passages(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for case, value in zip(cases, values, strict=True):
        shape = np.asarray(value, dtype=float).shape
        if shape != (len(case[1]),):
            return f"the shape is {shape}, and it should be ({len(case[1])},): one score a document, in their order."
    got = [np.asarray(value, dtype=float) for value in values]
    right = [best_passage_scores(*case) for case in cases]
    if _all_close(got, right):
        return None
    for i in range(len(cases)):
        if np.array_equal(np.sort(got[i]), np.arange(len(got[i]))):
            return "these are document numbers (a ranking); return the scores themselves."
    one, two = np.concatenate(got), np.concatenate(right)
    worst = int(np.abs(one - two).argmax())
    told = f"{one[worst]:.3f} instead of {two[worst]:.3f} for one of the documents"
    mistakes = [_passage_mistakes(case) for case in cases]
    for sentence in mistakes[0]:
        if _all_close(got, [mistake[sentence] for mistake in mistakes]):
            return f"{sentence}: {told}."
    return f"{told}. Cut into passages, encode them, take each document's highest similarity."


def _all_close(got: Sequence[Floats], other: Sequence[Floats]) -> bool:
    return all(np.allclose(a, b, atol=1e-4) for a, b in zip(got, other, strict=True))


def encode_for(model: SentenceTransformer, texts: list[str], task: str) -> Any:
    """Reference: the prompt of the task, by its name in the model."""
    return model.encode(texts, prompt_name=task.removeprefix("search_"))


@cache
def _nomic() -> SentenceTransformer:
    model = models.load("nomic-ai/nomic-embed-text-v1.5", source="stand-in", device="cpu")
    model.prompts |= {"clustering": "clustering: ", "classification": "classification: "}
    return model


def _task_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    texts = sorted(data.retrieval().queries.values())
    return [(_nomic(), [str(text) for text in draw.choice(texts, 3, replace=False)], task) for task in PREFIXES]


def _judge_task(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    def encoded(prefix: Callable[[str], str]) -> list[Any]:
        return [np.asarray(model.encode([prefix(task) + t for t in texts])) for model, texts, task in cases]

    right = encoded(lambda task: PREFIXES[task])
    for value, vectors in zip(values, right, strict=True):
        shape = np.asarray(value, dtype=float).shape
        if shape != vectors.shape:
            return f"the shape is {shape}, and it should be {vectors.shape}: one row a text."
    got = [np.asarray(value, dtype=float) for value in values]
    if _all_close(got, right):
        return None
    wrong, cosines = [], []
    for a, b, (_, _, task) in zip(got, right, cases, strict=True):
        if not np.allclose(a, b, atol=1e-4):
            wrong.append(task)
            cosines.append(float((a * b).sum(1).min() / max(1e-9, np.linalg.norm(a, axis=1).max())))
    told = f"for {', '.join(wrong)} the cosine with the right vectors falls to {min(cosines):.3f}"
    mistakes: dict[str, Callable[[str], str]] = {
        "no prefix arrived": lambda task: "",
        "the prefix arrived twice, by hand and as a prompt": lambda task: PREFIXES[task] * 2,
        "every text was encoded as a query": lambda task: PREFIXES["search_query"],
        "every text was encoded as a document": lambda task: PREFIXES["search_document"],
        "the task's name arrived without its colon": lambda task: f"{task} ",
        "the key of the prompt was glued on, not its prefix": lambda task: f"{task.removeprefix('search_')}: ",
        "query and document have changed places": lambda task: PREFIXES[
            {"search_query": "search_document", "search_document": "search_query"}.get(task, task)
        ],
        "only the search tasks got their prefix": lambda task: PREFIXES[task] if "search" in task else "",
    }
    for sentence, prefix in mistakes.items():
        if _all_close(got, encoded(prefix)):
            return f"{sentence}: {told}."
    return f"{told}. Print `nomic.prompts` and pass the right key as `prompt_name=`."


TASKS = {
    task.id: task
    for task in (
        Task("06.1", _recipe_cases, _judge_recipe),
        Task("06.2", _size_cases, _judge_size),
        Task("06.3", _passage_cases, _judge_passages),
        Task("06.4", _task_cases, _judge_task),
    )
}
