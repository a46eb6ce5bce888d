"""Exercise 04: E5's prefixes, its loss, last-token pooling, and a decision that survives high cosines."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import data
from helpers.checks.judges import ByReference, Decisions, MalformedError, Number, Places, Vectors
from helpers.checks.tasks import Case, Task
from helpers.models import adapters

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
normalize = torch.nn.functional.normalize


# 04.1


def embed_sides(
    model: SentenceTransformer,
    first: list[str],
    second: list[str],
    symmetric: bool,
    *,
    prefixes: Callable[[str], tuple[str, str]] = lambda right: ("query: ", right),
) -> tuple[Any, Any]:
    """Reference: the prefix of each role; a symmetric task has one role only."""
    one, other = prefixes("query: " if symmetric else "passage: ")
    return model.encode(first, prompt=one), model.encode(second, prompt=other)


@cache
def _model() -> SentenceTransformer:
    return adapters.load(0.01)


def _prefix_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    texts = sorted({*data.retrieval().queries.values()})
    some = [str(text) for text in draw.choice(texts, 14, replace=False)]
    return [(_model(), some[:3], some[3:7], False), (_model(), some[7:10], some[10:], True)]


PREFIXES = ByReference(
    embed_sides,
    Places(("first side", "second side"), Vectors("one row a text", atol=1e-4)),
    "These vectors fit no usual pair of prefixes; encode each text with its own.",
    about=lambda model, first, second, symmetric: f" in the {'symmetric' if symmetric else 'search'} case",
    mistakes={
        "plain `encode` adds none; use encode_query and encode_document": {"prefixes": lambda right: ("", "")},
        "one side goes in bare; E5 was trained with a prefix on both": {"prefixes": lambda right: ("query: ", "")},
        "each stands there twice; glue it on or let the library, not both": {
            "prefixes": lambda right: ("query: query: ", right * 2)
        },
        "the roles are swapped; the first side asks": {"prefixes": lambda right: ("passage: ", "query: ")},
        "both take 'query: ' where the sides play the same part": {"prefixes": lambda right: ("query: ", "passage: ")},
        "the second side takes 'passage: ' in a search": {"prefixes": lambda right: ("query: ", "query: ")},
    },
)


# 04.2


def cross_entropy(logits: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Of each row, with the right class on the diagonal."""
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)), reduction=reduction)


def info_nce(
    queries: torch.Tensor,
    passages: torch.Tensor,
    temperature: float,
    *,
    unit: Callable[..., torch.Tensor] = normalize,
    loss: Callable[[torch.Tensor], torch.Tensor] = cross_entropy,
) -> float:
    """Reference: cross-entropy over cosines / temperature, the right passage on the diagonal."""
    return float(loss(unit(queries) @ unit(passages).T / temperature))


def _without_positive(logits: torch.Tensor) -> torch.Tensor:
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -torch.inf)
    return (others.logsumexp(dim=1) - logits.diagonal()).mean()


def _loss_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for n, noise, temperature in ((6, 1.5, 0.5), (8, 2.0, 0.2), (7, 0.05, 0.01), (5, 3.0, 0.05)):
        queries = torch.randn(n, 8, generator=draw) + 0.5
        passages = queries + noise * torch.randn(n, 8, generator=draw)
        scale = torch.rand(2, n, 1, generator=draw) * 3 + 0.5
        cases.append((queries * scale[0], passages * scale[1], temperature))
    return cases


LOSS = ByReference(
    info_nce,
    Number("return one, the mean over the queries", rtol=1e-3, atol=1e-4, show=".4f"),
    "Cosines over the temperature, softmax a row, minus log of the diagonal, mean.",
    about=lambda queries, passages, temperature: f" at temperature {temperature}",
    traps={
        "exp() of a cosine over the temperature is too large for float32. Take the largest logit away first, or use "
        "logsumexp or cross_entropy": lambda queries, passages, temperature: temperature <= 0.01
    },
    mistakes={
        "these are dot products of vectors of unequal length; normalise both sides, cosine is asked for": {
            "unit": lambda vectors: vectors
        },
        "the cosines are multiplied by the temperature; divide by it": lambda q, p, t: info_nce(q, p, 1 / t),
        "the temperature is left out": lambda q, p, t: info_nce(q, p, 1),
        "that is a sum over the queries; take the mean": {"loss": lambda logits: cross_entropy(logits, "sum")},
        "the softmax runs over the queries of each passage; take it over the passages of each query": {
            "loss": lambda logits: cross_entropy(logits.T)
        },
        "the right passage is missing from the denominator; it is one of the choices": {"loss": _without_positive},
        "the sign is turned round; a loss is minus the log": {"loss": lambda logits: -cross_entropy(logits)},
        "that is the mean of both directions; only queries look for passages here": {
            "loss": lambda logits: (cross_entropy(logits) + cross_entropy(logits.T)) / 2
        },
    },
)


# 04.3


def last_token_pooling(
    token_embeddings: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    place: Callable[[torch.Tensor], torch.Tensor] = lambda mask: mask.shape[1] - 1 - mask.flip(dims=[1]).argmax(dim=1),
) -> torch.Tensor:
    """Reference: the last place where the mask is 1, counted from the end."""
    return token_embeddings[torch.arange(len(token_embeddings)), place(attention_mask)]


def _pooling_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for side, batch, tokens, dims in (("right", 4, 9, 5), ("left", 4, 9, 5), ("right", 9, 9, 9), ("left", 3, 6, 4)):
        lengths = torch.randint(3, tokens, (batch,), generator=draw)
        lengths[0] = tokens
        mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
        states = torch.randn(batch, tokens, dims, generator=draw)
        cases.append((states, mask.flip(dims=[1]) if side == "left" else mask))
    return cases


POOLING = ByReference(
    last_token_pooling,
    Vectors("one vector a text"),
    "Find the last place where the mask is 1.",
    about=lambda states, mask: f" in a batch padded on the {'left' if (mask[:, 0] == 0).any() else 'right'}",
    mistakes={
        "that is the last column, which is padding when padding is on the right": lambda states, mask: states[:, -1],
        "`mask.sum() - 1` counts from the left edge; with padding on the left the text begins later": {
            "place": lambda mask: mask.sum(dim=1) - 1
        },
        "that is the mean over the real tokens; a decoder's last token alone has seen all": lambda states, mask: (
            (states * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        ),
        "that is the first real token, which in a decoder has seen nothing but itself": {
            "place": lambda mask: mask.argmax(dim=1)
        },
        "that is one token short of the last; positions count from 0": {
            "place": lambda mask: mask.argmax(dim=1) + mask.sum(dim=1) - 2
        },
        "these are unit vectors; the last token's vector as it is was asked for": lambda states, mask: normalize(
            last_token_pooling(states, mask), dim=1
        ),
    },
)


# 04.4


def call_alike(
    cosines: Floats,
    background: Floats,
    false_alarms: float,
    *,
    limit: Callable[[Floats, Floats, float], Any] = lambda cosines, background, share: np.quantile(
        background, 1 - share
    ),
) -> Bools:
    """Reference: above the quantile of the background that lets only `false_alarms` through."""
    return np.asarray(cosines > limit(cosines, background, false_alarms))


def _decision_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    # The share of pairs that are alike differs, so that no fixed share of the highest is right.
    for low, high, false_alarms, many in ((0.80, 0.97, 0.05, 8), (-0.10, 0.40, 0.05, 14), (0.55, 0.75, 0.02, 4)):
        background = low + (high - low) * draw.beta(3, 4, size=1000)
        ordered = np.sort(background)
        place = int((1 - false_alarms) * len(ordered))
        # No pair lies so near the edge that two ways of computing a quantile would differ on it.
        edge = ordered[place - 3], ordered[min(place + 3, len(ordered) - 1)]
        alike = draw.uniform(edge[1] + 0.005, edge[1] + 0.3 * (high - low), size=many)
        unlike = draw.uniform(low, edge[0] - 0.005, size=29 - many)
        middle = (background.mean() + np.median(background)) / 2  # a pair that tells the two apart as limits
        cases.append((draw.permutation([*alike, *unlike, middle]), background, false_alarms))
    return cases


def _by_one_limit(decisions: Bools, cosines: Floats, background: Floats, false_alarms: float) -> Bools:
    if np.diff(decisions[np.argsort(cosines)]).sum() > 1:
        raise MalformedError("a pair is called alike and another of higher cosine isn't. Compare with one limit.")
    return decisions


DECISION = ByReference(
    call_alike,
    Decisions("pairs are decided wrongly", "return a decision for each pair, not a score"),
    "The limit is the cosine that a share of `false_alarms` of the background lies above.",
    about=lambda cosines, background, share: (
        f" by a model whose unrelated pairs have cosines from {background.min():.2f} to {background.max():.2f}"
    ),
    judged=_by_one_limit,
    mistakes={
        f"a fixed limit of about {number} carries the scale of one model": {"limit": lambda c, b, f, n=number: n}
        for number in (0.7, 0.9, 0.5, 0.6, 0.8, 0.85)  # the two first may be right for a model
    }
    | {
        "that is a quantile of the pairs themselves, which calls the same share alike whatever they are; take it of "
        "the background": {"limit": lambda c, b, f: np.quantile(c, 1 - f)},
        "the wrong tail: nearly all unrelated pairs lie above that limit; take 1 - false_alarms": {
            "limit": lambda c, b, f: np.quantile(b, f)
        },
        "above the middle of the background (its mean) lies about half of it": {"limit": lambda c, b, f: b.mean()},
        "above the middle of the background (its median) lies half of it": {"limit": lambda c, b, f: np.median(b)},
        "np.percentile counts from 0 to 100; with a share of 1 use np.quantile": {
            "limit": lambda c, b, f: np.percentile(b, 1 - f)
        },
        "the decision is turned round; a high cosine means alike": lambda c, b, f: ~call_alike(c, b, f),
        "nothing of the background is let through; a share of it was allowed": {"limit": lambda c, b, f: b.max()},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("04.1", _prefix_cases, PREFIXES),
        Task("04.2", _loss_cases, LOSS),
        Task("04.3", _pooling_cases, POOLING),
        Task("04.4", _decision_cases, DECISION),
    )
}
