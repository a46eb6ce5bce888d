"""Exercise 02: pooling as trained, the instruction on its side, and a threshold of one's own."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import bundled, catalog, data
from helpers.checks.judges import ByReference, Embeddings, Entries, MalformedError, Number, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
normalize = torch.nn.functional.normalize

POOLINGS: dict[str, Pool] = {  # wherever the padding is
    "cls": lambda tokens, mask: tokens[torch.arange(len(tokens)), mask.int().argmax(dim=1)],
    "mean": lambda tokens, mask: (tokens * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True),
    "max": lambda tokens, mask: tokens.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(dim=1),
}
FIRST_PLACE = POOLINGS | {"cls": lambda tokens, mask: tokens[:, 0]}
PADDED_MEAN = POOLINGS | {"mean": lambda tokens, mask: tokens.mean(dim=1)}
PADDED_MAX = POOLINGS | {"max": lambda tokens, mask: tokens.amax(dim=1)}


def batch(draw: torch.Generator, left: bool, texts: int = 4, tokens: int = 7, dims: int = 6) -> Case:
    """Token vectors, padding rows filled with numbers like any other, and their mask."""
    lengths = torch.randint(2, tokens, (texts,), generator=draw)
    places = torch.arange(tokens).flip(0) if left else torch.arange(tokens)
    mask = (places < lengths.unsqueeze(1)).long()
    return torch.randn(texts, tokens, dims, generator=draw) - 0.7, mask


# 02.1


def pool(
    tokens: torch.Tensor,
    mask: torch.Tensor,
    pooling: str,
    *,
    poolings: Mapping[str, Pool] = POOLINGS,
    last: Callable[..., torch.Tensor] = normalize,
) -> torch.Tensor:
    """Reference: pool as asked, then unit length (the `Pooling` and `Normalize` of Sentence Transformers)."""
    return last(poolings[pooling](tokens, mask))


def _pool_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    return [(*batch(draw, left), pooling) for left in (False, True) for pooling in POOLINGS]


POOLING = ByReference(
    pool,
    Vectors("one vector a text", atol=1e-2),  # half precision is right as well
    "Pool over each text's real tokens, then divide each row by its length.",
    about=lambda tokens, mask, pooling: (
        f" for pooling={pooling!r} with padding on the {'left' if mask[:, 0].min() == 0 else 'right'}"
    ),
    mistakes={
        "these aren't unit vectors; pooling is right, now divide each row by its length": {"last": lambda rows: rows},
        "with padding on the left, position 0 is padding; take each text's first real token": {"poolings": FIRST_PLACE},
        "your mean counts the padding rows; use the attention mask": {"poolings": PADDED_MEAN},
        "your maximum looks at the padding rows; set them to minus infinity first": {"poolings": PADDED_MAX},
        "your maximum is never below 0, because padding set to 0 wins over negative numbers": {
            "poolings": POOLINGS | {"max": lambda t, m: (t * m.unsqueeze(-1)).amax(dim=1)}
        },
        "that is the mean whatever was asked for; look at `pooling`": lambda t, m, p: pool(t, m, "mean"),
        "that is the first token whatever was asked for; look at `pooling`": lambda t, m, p: pool(t, m, "cls"),
        "the tokens were normalised before they were pooled; pool first, then normalise": lambda t, m, p: pool(
            normalize(t, dim=2), m, p
        ),
    },
)


# 02.2


def embed(
    model: SentenceTransformer,
    texts: list[str],
    roles: list[str],
    *,
    written: Callable[[str, str], str] = lambda prompt, text: prompt + text,
) -> Any:
    """Reference: each text behind the prompt of its role, all in one call, in the order given."""
    prompts = [model.prompts[role] or "" for role in roles]
    return model.encode([written(prompt, text) for prompt, text in zip(prompts, texts, strict=True)])


@cache
def _with_prompts(query: str, document: str) -> SentenceTransformer:
    prompts = {"query": query, "document": document}
    return SentenceTransformer(modules=[*_minilm()], device="cpu", prompts=prompts)


@cache
def _minilm() -> SentenceTransformer:
    return bundled.minilm()


def _embed_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    shortest = sorted(data.retrieval().queries.values(), key=len)[:60]
    cases: list[Case] = []
    for name in ("bge-small-en-v1.5", "e5-small-v2"):
        prompts = catalog.card(name).prompts
        roles = ["document", "query", *map(str, draw.permutation(["document", "query", "query"]))]
        texts = [str(text) for text in draw.choice(shortest, len(roles), replace=False)]
        cases.append((_with_prompts(prompts["query"], prompts["document"]), texts, roles))
    return cases


OTHER_ROLE = {"query": "document", "document": "query"}
PROMPTS = ByReference(
    embed,
    Embeddings("one row a text, in the order given"),
    "Put `model.prompts[role]` before each text, then encode.",
    about=lambda model, texts, roles: f" (the roles are {', '.join(roles)})",
    mistakes={
        "no prompt was applied, for `encode` alone adds none": {"written": lambda prompt, text: text},
        "every text got the query's prompt, documents too": lambda m, t, r: embed(m, t, ["query"] * len(t)),
        "every text got the document's prompt, queries too": lambda m, t, r: embed(m, t, ["document"] * len(t)),
        "the sides are exchanged, and queries got the document's prompt": lambda m, t, r: embed(
            m, t, [OTHER_ROLE[role] for role in r]
        ),
        "the prompt stands behind the text; it goes before": {"written": lambda prompt, text: f"{text} {prompt}"},
        "queries come first in your rows; keep the order of the texts": lambda m, t, r: embed(m, t, r)[
            sorted(range(len(t)), key=lambda i: r[i] != "query")
        ],
    },
)


# 02.3


def f1(similar: NDArray[np.bool_], label: Labels) -> float:
    """The harmonic mean of precision and recall (van Rijsbergen 1979)."""
    return float(2 * (similar & (label == 1)).sum() / max(1, similar.sum() + (label == 1).sum()))


def calibrate_threshold(
    similarity: Floats,
    label: Labels,
    *,
    similar: Callable[..., Any] = np.greater_equal,
    score: Callable[[NDArray[np.bool_], Labels], float] = f1,
) -> float:
    """Reference: the observed similarity that gives the best F1 as a threshold."""
    return float(max(np.unique(similarity), key=lambda t: score(similar(similarity, t), label)))


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


def ties_apart(similarity: Floats, label: Labels) -> float:
    """The mistake of taking tied similarities apart, as they stand after sorting."""
    order = np.argsort(-similarity, kind="stable")
    shares = 2 * np.cumsum(label[order]) / (np.arange(1, len(label) + 1) + label.sum())
    return float(similarity[order][shares.argmax()])


def _reached(threshold: float, similarity: Floats, label: Labels) -> float:
    if not np.isfinite(threshold):
        raise MalformedError("it returns no finite number; return one threshold.")
    return f1(similarity >= threshold, label)


THRESHOLD = ByReference(
    calibrate_threshold,
    Number("return one threshold", unit=" as the F1 of your threshold"),
    "Try every similarity there is as a threshold, and keep the best.",
    judged=_reached,  # all thresholds between two similarities are as good
    mistakes={
        "tied similarities were taken apart; a threshold takes all pairs of one value or none": ties_apart,
        "that threshold has the best accuracy, not the best F1; with rare positives it says no too often": {
            "score": lambda similar, label: (similar == label).mean()
        },
        "that is the middle between the two means; it depends on how far out the easy negatives lie": lambda s, y: (
            (s[y == 1].mean() + s[y == 0].mean()) / 2
        ),
        "that is right for `>`; here a pair AT the threshold counts as similar": {"similar": np.greater},
        "that is right for `<=`; a HIGH similarity means similar": {"similar": np.less_equal},
        "that is the best F1 itself; return the threshold that gives it": lambda s, y: f1(
            s >= calibrate_threshold(s, y), y
        ),
        "a fixed 0.5 suits no model in particular; try the similarities in hand as thresholds": lambda s, y: 0.5,
    },
)


# 02.4


def pooling_evidence(
    tokens: torch.Tensor,
    mask: torch.Tensor,
    embeddings: torch.Tensor,
    *,
    poolings: Mapping[str, Pool] = POOLINGS,
    similarity: Callable[..., torch.Tensor] = torch.cosine_similarity,
    over: Callable[[torch.Tensor], torch.Tensor] = torch.min,
) -> dict[str, float]:
    """Reference: for each pooling the lowest cosine, over the texts, with the embeddings in hand."""
    return {name: float(over(similarity(way(tokens, mask), embeddings))) for name, way in poolings.items()}


def _evidence_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for way, left in zip(POOLINGS.values(), (True, False, True), strict=True):
        tokens, mask = batch(draw, left)
        scale = torch.rand(len(tokens), 1, generator=draw) + 0.5
        cases.append((tokens, mask, scale * way(tokens, mask)))
    return cases


EVIDENCE = ByReference(
    pooling_evidence,
    Entries(Number("return one number a pooling", atol=1e-4)),
    "Pool each way over real tokens, then compare by cosine and take the lowest.",
    mistakes={
        "that is the average over the texts; one text that disagrees is proof enough, so take the lowest": {
            "over": torch.mean
        },
        "that is the highest over the texts; take the lowest": {"over": torch.max},
        "these are dot products; the embeddings' lengths must not count": {
            "similarity": lambda rows, embeddings: (rows * embeddings).sum(dim=1)
        },
        "your mean holds the padding rows": {"poolings": PADDED_MEAN},
        "your maximum holds the padding rows": {"poolings": PADDED_MAX},
        "for cls you took position 0, which is padding where the padding is on the left": {"poolings": FIRST_PLACE},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("02.1", _pool_cases, POOLING),
        Task("02.2", _embed_cases, PROMPTS),
        Task("02.3", _threshold_cases, THRESHOLD),
        Task("02.4", _evidence_cases, EVIDENCE),
    )
}
