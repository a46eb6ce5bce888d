"""Exercise 02: pooling as trained, the instruction on its side, and a threshold of one's own."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import bundled, catalog, data
from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
normalize = torch.nn.functional.normalize
POOLINGS = ("cls", "mean", "max")
ROUNDED = 1e-2  # how far a right unit vector computed in half precision may be off


def array(value: Any) -> NDArray[np.float64]:
    """Numbers of any library as one float64 array."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple) and value and isinstance(value[0], torch.Tensor):
        return np.stack([array(row) for row in value])
    return np.asarray(value, dtype=np.float64)


# 02.1


def pooled(tokens: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(texts, dims): the pooling alone, wherever the padding is."""
    kept = mask.unsqueeze(-1).bool()
    if pooling == "cls":
        return tokens[torch.arange(len(tokens)), mask.int().argmax(dim=1)]
    if pooling == "max":
        return tokens.masked_fill(~kept, -torch.inf).amax(dim=1)
    return (tokens * kept).sum(dim=1) / kept.sum(dim=1)


def pool(token_embeddings: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Reference: pool as asked, then unit length (the `Pooling` and `Normalize` of Sentence Transformers)."""
    return normalize(pooled(token_embeddings, attention_mask, pooling), dim=1)


def batch(draw: torch.Generator, left: bool, texts: int = 4, tokens: int = 7, dims: int = 6) -> Case:
    """Token vectors, padding rows filled with numbers like any other, and their mask."""
    lengths = torch.randint(2, tokens, (texts,), generator=draw)
    places = torch.arange(tokens).flip(0) if left else torch.arange(tokens)
    mask = (places < lengths.unsqueeze(1)).long()
    return torch.randn(texts, tokens, dims, generator=draw) - 0.7, mask


def _pool_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    return [(*batch(draw, left), pooling) for left in (False, True) for pooling in POOLINGS]


POOL_MISTAKES: dict[str, Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]] = {
    "these aren't unit vectors: pooling is right, now divide each row by its length": pooled,
    "with padding on the left, position 0 is padding: take each text's first real token": lambda t, m, p: (
        normalize(t[:, 0], dim=1) if p == "cls" else pool(t, m, p)
    ),
    "your mean counts the padding rows: use the attention mask": lambda t, m, p: (
        normalize(t.mean(dim=1), dim=1) if p == "mean" else pool(t, m, p)
    ),
    "your maximum looks at the padding rows: set them to minus infinity first": lambda t, m, p: (
        normalize(t.amax(dim=1), dim=1) if p == "max" else pool(t, m, p)
    ),
    "your maximum is never below 0: padding set to 0 wins over negative numbers": lambda t, m, p: (
        normalize((t * m.unsqueeze(-1)).amax(dim=1), dim=1) if p == "max" else pool(t, m, p)
    ),
    "that is the mean whatever was asked for: look at `pooling`": lambda t, m, p: pool(t, m, "mean"),
    "that is the first token whatever was asked for: look at `pooling`": lambda t, m, p: pool(t, m, "cls"),
    "the tokens were normalised before they were pooled: pool first, then normalise": lambda t, m, p: normalize(
        pooled(normalize(t, dim=2), m, p), dim=1
    ),
}


def _judge_pool(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [array(pool(*case)) for case in cases]
    got = [array(value) for value in values]
    for one, other in zip(got, right, strict=True):
        if one.shape != other.shape:
            return f"the shape is {one.shape}, and it should be {other.shape}: one vector a text."
    if _close(got, right, ROUNDED):
        return None
    told = _first_difference(got, right, ROUNDED)
    for sentence, mistake in POOL_MISTAKES.items():
        if _close(got, [array(mistake(*case)) for case in cases], ROUNDED):
            return f"{sentence} ({told})."
    pairs = enumerate(zip(got, right, strict=True))
    wrong = next(i for i, (one, other) in pairs if not _close([one], [other], ROUNDED))
    side = "left" if cases[wrong][1][:, 0].min() == 0 else "right"
    return f"wrong for pooling={cases[wrong][2]!r} with padding on the {side} ({told})."


def _close(got: Sequence[NDArray[Any]], right: Sequence[NDArray[Any]], atol: float) -> bool:
    return all(np.allclose(one, other, atol=atol) for one, other in zip(got, right, strict=True))


def _first_difference(got: Sequence[NDArray[Any]], right: Sequence[NDArray[Any]], atol: float = 1e-4) -> str:
    for one, other in zip(got, right, strict=True):
        places = np.argwhere(~np.isclose(one, other, atol=atol))
        if len(places):
            place = tuple(places[0])
            return f"{one[place]:.3f} instead of {other[place]:.3f}"
    return "no difference"


# 02.2


def embed(model: SentenceTransformer, texts: list[str], roles: list[str]) -> Any:
    """Reference: each text behind the prompt of its role, all in one call, in the order given."""
    return model.encode([(model.prompts[role] or "") + text for text, role in zip(texts, roles, strict=True)])


@cache
def _with_prompts(query: str, document: str) -> SentenceTransformer:
    prompts = {"query": query, "document": document}
    return SentenceTransformer(modules=[*_minilm()], device="cpu", prompts=prompts)


@cache
def _minilm() -> SentenceTransformer:
    return bundled.minilm()


def _embed_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    texts = sorted(data.retrieval().queries.values(), key=len)[:60]
    cases: list[Case] = []
    for name in ("bge-small-en-v1.5", "e5-small-v2"):
        prompts = catalog.card(name).prompts
        roles = ["document", "query", *draw.permutation(["document", "query", "query"])]
        chosen = [str(text) for text in draw.choice(texts, len(roles), replace=False)]
        cases.append((_with_prompts(prompts["query"], prompts["document"]), chosen, [str(role) for role in roles]))
    return cases


def _sorted_by_role(model: SentenceTransformer, texts: list[str], roles: list[str]) -> Any:
    order = sorted(range(len(texts)), key=lambda i: roles[i] != "query")
    return np.asarray(embed(model, texts, roles))[order]


EMBED_MISTAKES: dict[str, Callable[[SentenceTransformer, list[str], list[str]], Any]] = {
    "no prompt was applied: `encode` alone adds none": lambda m, t, r: m.encode(t),
    "every text got the query's prompt, documents too": lambda m, t, r: embed(m, t, ["query"] * len(t)),
    "every text got the document's prompt, queries too": lambda m, t, r: embed(m, t, ["document"] * len(t)),
    "the sides are exchanged: queries got the document's prompt": lambda m, t, r: embed(
        m, t, ["document" if role == "query" else "query" for role in r]
    ),
    "the prompt stands behind the text; it goes before": lambda m, t, r: m.encode(
        [f"{text} {m.prompts[role]}" for text, role in zip(t, r, strict=True)]
    ),
    "queries come first in your rows; keep the order of the texts": _sorted_by_role,
}


def _judge_embed(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [array(embed(*case)) for case in cases]
    got = [array(value) for value in values]
    for one, other in zip(got, right, strict=True):
        if one.shape != other.shape:
            return f"the shape is {one.shape}, and it should be {other.shape}: one row a text, in the order given."
    if _close(got, right, 1e-4):
        return None
    cosines = [
        (normalize(torch.tensor(a)) * normalize(torch.tensor(b))).sum(1) for a, b in zip(got, right, strict=True)
    ]
    number, worst = min(enumerate(cosines), key=lambda pair: float(pair[1].min()))
    row = int(worst.argmin())
    role = cases[number][2][row]
    told = f"text {row + 1} of {len(worst)}, a {role}, has a cosine of {worst[row]:.3f} with the right vector"
    for sentence, mistake in EMBED_MISTAKES.items():
        if _close(got, [array(mistake(*case)) for case in cases], 1e-4):
            return f"{sentence}: {told}."
    return f"{told}. Put `model.prompts[role]` before each text, then encode."


# 02.3


def f1_at(threshold: float, similarity: Floats, label: NDArray[np.int64]) -> float:
    """F1 of "similar if the similarity is at least the threshold" (van Rijsbergen 1979)."""
    said = similarity >= threshold
    return float(2 * (said & (label == 1)).sum() / max(1, said.sum() + (label == 1).sum()))


def calibrate_threshold(similarity: Floats, label: NDArray[np.int64]) -> float:
    """Reference: the observed similarity that gives the best F1 as a threshold."""
    return float(max(np.unique(similarity), key=lambda threshold: f1_at(threshold, similarity, label)))


def _threshold_cases(seed: int) -> list[Case]:
    """Three sets of similarities: a narrow, high band with rare positives; a wide one; one with ties."""
    draw = np.random.default_rng(seed)
    while True:  # in the middle of the band negatives are always ahead, so that accuracy asks for the top alone
        middle = draw.permutation([1] * 8 + [0] * 12)
        if (np.cumsum(1 - 2 * middle) >= 1).all():
            break
    band = [draw.uniform(0.93, 0.95, 2), np.linspace(0.92, 0.86, 20), draw.uniform(0.75, 0.84, 60)]
    narrow = np.concatenate(band), np.concatenate([[1, 1], middle, np.zeros(60, dtype=int)])
    parts = (
        draw.uniform(0.7, 0.9, 12),
        draw.uniform(0.2, 0.3, 2),
        draw.uniform(0.55, 0.65, 15),
        draw.uniform(-0.2, 0.2, 60),
    )
    wide = np.concatenate(parts), np.repeat([1, 1, 0, 0], [12, 2, 15, 60])
    above, at, negatives = (int(draw.integers(*ends)) for ends in ((8, 12), (4, 6), (12, 16)))
    level = draw.uniform(0.4, 0.6)
    tied = (
        np.concatenate([draw.uniform(0.7, 0.9, above), [level] * (at + negatives), draw.uniform(0, 0.3, 20)]),
        np.repeat([1, 1, 0, 0], [above, at, negatives, 20]),
    )
    return [(similarity.astype(np.float32), label.astype(np.int64)) for similarity, label in (narrow, wide, tied)]


def _best_accuracy(similarity: Floats, label: NDArray[np.int64]) -> float:
    return float(max(np.unique(similarity), key=lambda t: float(((similarity >= t) == label).mean())))


def _between_means(similarity: Floats, label: NDArray[np.int64]) -> float:
    return float((similarity[label == 1].mean() + similarity[label == 0].mean()) / 2)


def _ties_ignored(similarity: Floats, label: NDArray[np.int64]) -> float:
    order = np.argsort(-similarity, kind="stable")
    hits = np.cumsum(label[order])
    f1 = 2 * hits / (np.arange(1, len(label) + 1) + label.sum())
    return float(similarity[order][f1.argmax()])


def _strictly_above(similarity: Floats, label: NDArray[np.int64]) -> float:
    return float(max(np.unique(similarity), key=lambda t: f1_at(np.nextafter(t, np.float32(2)), similarity, label)))


def _turned_round(similarity: Floats, label: NDArray[np.int64]) -> float:
    return float(max(np.unique(similarity), key=lambda t: f1_at(-t, -similarity, label)))


THRESHOLD_MISTAKES: dict[str, Callable[[Floats, NDArray[np.int64]], float]] = {
    "that threshold has the best accuracy, not the best F1: with rare positives it says no too often": _best_accuracy,
    "that is the middle between the two means; it depends on how far out the easy negatives lie": _between_means,
    "tied similarities were taken apart: a threshold takes all pairs of one value or none": _ties_ignored,
    "that is right for `>`; here a pair AT the threshold counts as similar": _strictly_above,
    "that is right for `<=`; a HIGH similarity means similar": _turned_round,
    "that is the best F1 itself; return the threshold that gives it": lambda s, y: f1_at(
        calibrate_threshold(s, y), s, y
    ),
    "a fixed 0.5 suits no model in particular: try the similarities in hand as thresholds": lambda s, y: 0.5,
}


def _judge_threshold(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [float(array(value).reshape(())) for value in values]
    if not np.isfinite(got).all():
        return "it returns no finite number; return one threshold."
    best = [f1_at(calibrate_threshold(*case), *case) for case in cases]
    reached = [f1_at(threshold, *case) for threshold, case in zip(got, cases, strict=True)]
    short = [top - f1 for top, f1 in zip(best, reached, strict=True)]
    if max(short) < 1e-9:
        return None
    worst = int(np.argmax(short))
    told = f"a threshold of {got[worst]:.3f} gives an F1 of {reached[worst]:.3f}, and {best[worst]:.3f} is possible"

    def decisions(thresholds: Sequence[float]) -> list[list[bool]]:
        return [(case[0] >= threshold).tolist() for threshold, case in zip(thresholds, cases, strict=True)]

    for sentence, mistake in THRESHOLD_MISTAKES.items():
        if decisions(got) == decisions([mistake(*case) for case in cases]):
            return f"{sentence} ({told})."
    return f"{told}: try every similarity there is as a threshold, and keep the best."


# 02.4


def pooling_evidence(tokens: torch.Tensor, mask: torch.Tensor, embeddings: torch.Tensor) -> dict[str, float]:
    """Reference: for each pooling the lowest cosine, over the texts, with the embeddings in hand."""
    return {p: float(torch.cosine_similarity(pooled(tokens, mask, p), embeddings).min()) for p in POOLINGS}


def _evidence_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for pooling, left in zip(POOLINGS, (True, False, True), strict=True):
        tokens, mask = batch(draw, left)
        scale = torch.rand(len(tokens), 1, generator=draw) + 0.5
        cases.append((tokens, mask, scale * pooled(tokens, mask, pooling)))
    return cases


def _evidence(
    pools: Callable[..., torch.Tensor], reduce: str = "min", cosine: bool = True
) -> Callable[..., dict[str, float]]:
    def wrong(tokens: torch.Tensor, mask: torch.Tensor, embeddings: torch.Tensor) -> dict[str, float]:
        found = {}
        for p in POOLINGS:
            made = pools(tokens, mask, p)
            scores = torch.cosine_similarity(made, embeddings) if cosine else (made * embeddings).sum(dim=1)
            found[p] = float(getattr(scores, reduce)())
        return found

    return wrong


def _padding_in_mean(tokens: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    return tokens.mean(dim=1) if pooling == "mean" else pooled(tokens, mask, pooling)


def _padding_in_max(tokens: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    return tokens.amax(dim=1) if pooling == "max" else pooled(tokens, mask, pooling)


def _position_zero(tokens: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    return tokens[:, 0] if pooling == "cls" else pooled(tokens, mask, pooling)


EVIDENCE_MISTAKES: dict[str, Callable[..., dict[str, float]]] = {
    "that is the average over the texts; one text that disagrees is proof enough, so take the lowest": _evidence(
        pooled, "mean"
    ),
    "that is the highest over the texts; take the lowest": _evidence(pooled, "max"),
    "these are dot products; the embeddings' lengths must not count": _evidence(pooled, "min", cosine=False),
    "your mean holds the padding rows": _evidence(_padding_in_mean),
    "your maximum holds the padding rows": _evidence(_padding_in_max),
    "for cls you took position 0, which is padding where the padding is on the left": _evidence(_position_zero),
}


def _judge_evidence(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for value in values:
        if not isinstance(value, Mapping) or set(value) != set(POOLINGS):
            got_keys = f"the keys {list(value)}" if isinstance(value, Mapping) else type(value).__name__
            return f"it returns {got_keys}; return a dict with the keys {', '.join(POOLINGS)}."
    got = [np.array([float(value[p]) for p in POOLINGS]) for value in values]
    right = [np.array(list(pooling_evidence(*case).values())) for case in cases]
    if _close(got, right, 1e-4):
        return None
    for sentence, mistake in EVIDENCE_MISTAKES.items():
        if _close(got, [np.array(list(mistake(*case).values())) for case in cases], 1e-4):
            return f"{sentence} ({_first_difference(got, right)})."
    return f"a lowest cosine is wrong ({_first_difference(got, right)}): pool each way over real tokens, then compare."


TASKS = {
    task.id: task
    for task in (
        Task("02.1", _pool_cases, _judge_pool),
        Task("02.2", _embed_cases, _judge_embed),
        Task("02.3", _threshold_cases, _judge_threshold),
        Task("02.4", _evidence_cases, _judge_evidence),
    )
}
