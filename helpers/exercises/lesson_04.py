"""Exercise 04: E5's prefixes, its loss, last-token pooling, and a decision that survives high cosines."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import data
from helpers.checks import Task
from helpers.models import adapters

Case = tuple[Any, ...]
TWICE = "each stands there twice; glue it on or let the library, not both"
PREFIX_MISTAKES = {
    ("", ""): "plain `encode` adds none; use encode_query and encode_document",
    ("query: ", ""): "one side goes in bare; E5 was trained with a prefix on both",
    ("query: query: ", "passage: passage: "): TWICE,
    ("query: query: ", "query: query: "): TWICE,
    ("passage: ", "query: "): "the roles are swapped; the first side asks",
}
Vectors = NDArray[np.float32]
normalize = torch.nn.functional.normalize


@cache
def _model() -> SentenceTransformer:
    return adapters.load(0.01)


def embed_sides(
    model: SentenceTransformer, first: list[str], second: list[str], symmetric: bool
) -> tuple[Vectors, Vectors]:
    """Reference: the library adds the prefix of each role; a symmetric task has one role only."""
    return model.encode_query(first), model.encode_query(second) if symmetric else model.encode_document(second)


def _prefix_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    pool = sorted({*data.retrieval().queries.values()})
    some = [str(text) for text in draw.choice(pool, 14, replace=False)]
    return [(_model(), some[:3], some[3:7], False), (_model(), some[7:10], some[10:], True)]


def _judge_prefixes(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (model, first, second, symmetric), value in zip(cases, values, strict=True):
        if not isinstance(value, tuple | list) or len(value) != 2:
            return f"it returns {type(value).__name__}; return two arrays, one a side."
        got = [np.asarray(side, dtype=np.float32) for side in value]
        sizes = [(len(side), model.get_embedding_dimension()) for side in (first, second)]
        if [side.shape for side in got] != sizes:
            return f"the shapes are {got[0].shape} and {got[1].shape}, and they should be {sizes[0]} and {sizes[1]}."
        kind = "symmetric" if symmetric else "search"
        right = "query: " if symmetric else "passage: "
        found = [_prefix_of(model, side, texts) for side, texts in zip(got, (first, second), strict=True)]
        if found == ["query: ", right]:
            continue
        given = f"in the {kind} case the prefixes are {found[0]!r} and {found[1]!r}"
        if None in found:
            side = "first" if found[0] is None else "second"
            return f"the vectors of the {side} side in the {kind} case fit no prefix: encode each text with its own."
        usual = "both take 'query: ' where the sides play the same part"
        if not symmetric:
            usual = "the second side takes 'passage: ' in a search"
        return f"{given}: {PREFIX_MISTAKES.get((str(found[0]), str(found[1])), usual)}."
    return None


def _prefix_of(model: SentenceTransformer, vectors: Vectors, texts: list[str]) -> str | None:
    """The prefix that gives these vectors; None if none that anybody would use does."""
    for prefix in ("query: ", "passage: ", "", "query: query: ", "passage: passage: "):
        if np.allclose(model.encode(texts, prompt=prefix), vectors, atol=1e-4):
            return prefix
    return None


def info_nce(queries: torch.Tensor, passages: torch.Tensor, temperature: float) -> float:
    """Reference: cross-entropy over cosines / temperature, the right passage on the diagonal."""
    logits = normalize(queries, dim=1) @ normalize(passages, dim=1).T / temperature
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(queries))).item()


def _loss_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for n, noise, temperature in ((6, 1.5, 0.5), (8, 2.0, 0.2), (7, 0.05, 0.01), (5, 3.0, 0.05)):
        queries = torch.randn(n, 8, generator=draw) + 0.5
        passages = queries + noise * torch.randn(n, 8, generator=draw)
        scale = torch.rand(2, n, 1, generator=draw) * 3 + 0.5
        cases.append((queries * scale[0], passages * scale[1], temperature))
    return cases


def _judge_loss(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    sizes = [np.size(torch.as_tensor(value).detach().numpy()) for value in values]
    if any(size != 1 for size in sizes):
        return f"it returns {sizes[0]} numbers; return one, the mean over the queries."
    got = np.array([float(value) for value in values])
    right = np.array([info_nce(*case) for case in cases])
    if np.allclose(got, right, rtol=1e-3, atol=1e-4):
        return None
    if not np.isfinite(got).all():
        return (
            f"at temperature {cases[2][2]} the loss is {got[2]:.1f}: exp() of a cosine over the temperature is too "
            "large for float32. Take the largest logit away first, or use logsumexp or cross_entropy."
        )
    told = f"{got[0]:.4f} instead of {right[0]:.4f} in the first batch"
    for sentence, wrong in _loss_mistakes(cases).items():
        if np.allclose(got, wrong, rtol=1e-3, atol=1e-4):
            return f"{sentence}: {told}."
    return f"the loss is wrong: {told}. Cosines over the temperature, softmax a row, minus log of the diagonal, mean."


def _loss_mistakes(cases: Sequence[Case]) -> dict[str, list[float]]:
    def each(loss: Any) -> list[float]:
        return [float(loss(q, p, t)) for q, p, t in cases]

    def cosine(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return normalize(q, dim=1) @ normalize(p, dim=1).T

    def entropy(logits: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)), reduction=reduction)

    def without_positive(q: torch.Tensor, p: torch.Tensor, t: float) -> torch.Tensor:
        logits = cosine(q, p) / t
        others = logits.masked_fill(torch.eye(len(q), dtype=torch.bool), -torch.inf)
        return (others.logsumexp(dim=1) - logits.diagonal()).mean()

    return {
        "these are dot products of vectors of unequal length; normalise both sides, cosine is asked for": each(
            lambda q, p, t: entropy(q @ p.T / t)
        ),
        "the cosines are multiplied by the temperature; divide by it": each(lambda q, p, t: entropy(cosine(q, p) * t)),
        "the temperature is left out": each(lambda q, p, t: entropy(cosine(q, p))),
        "that is a sum over the queries; take the mean": each(lambda q, p, t: entropy(cosine(q, p) / t, "sum")),
        "the softmax runs over the queries of each passage; take it over the passages of each query": each(
            lambda q, p, t: entropy(cosine(q, p).T / t)
        ),
        "the right passage is missing from the denominator; it is one of the choices": each(without_positive),
        "the sign is turned round; a loss is minus the log": [-info_nce(*case) for case in cases],
        "that is the mean of both directions; only queries look for passages here": each(
            lambda q, p, t: (entropy(cosine(q, p) / t) + entropy(cosine(q, p).T / t)) / 2
        ),
    }


def last_token_pooling(token_embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Reference: the last place where the mask is 1, found from the end."""
    last = attention_mask.shape[1] - 1 - attention_mask.flip(dims=[1]).argmax(dim=1)
    return token_embeddings[torch.arange(len(token_embeddings)), last]


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


def _judge_pooling(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (states, mask), value in zip(cases, values, strict=True):
        right, got = last_token_pooling(states, mask), torch.as_tensor(value).float()
        if got.shape != right.shape:
            return f"the shape is {tuple(got.shape)}, and it should be {tuple(right.shape)}, one vector a text."
        if torch.allclose(got, right, atol=1e-5):
            continue
        side = "left" if (mask[:, 0] == 0).any() else "right"
        rows = (~torch.isclose(got, right, atol=1e-5).all(dim=1)).sum().item()
        told = f"{rows} of {len(right)} rows are wrong in a batch padded on the {side}"
        every, count = torch.arange(len(states)), mask.sum(dim=1)
        weights = mask.unsqueeze(-1).float()
        first = mask.argmax(dim=1)
        known = {
            "that is the last column, which is padding when padding is on the right": states[:, -1],
            "`mask.sum() - 1` counts from the left edge; with padding on the left the text begins later": states[
                every, (count - 1).clamp(min=0)
            ],
            "that is the mean over the real tokens; a decoder's last token alone has seen all": (
                (states * weights).sum(dim=1) / weights.sum(dim=1)
            ),
            "that is the first real token, which in a decoder has seen nothing but itself": states[every, first],
            "that is one token short of the last; positions count from 0": states[every, first + count - 2],
            "these are unit vectors; the last token's vector as it is was asked for": normalize(right, dim=1),
        }
        for sentence, wrong in known.items():
            if torch.allclose(got, wrong, atol=1e-5):
                return f"{sentence}: {told}."
        return f"{told}. Find the last place where the mask is 1."
    return None


def call_alike(cosines: NDArray[np.float64], background: NDArray[np.float64], false_alarms: float) -> NDArray[np.bool_]:
    """Reference: above the quantile of the background that lets only `false_alarms` through."""
    return np.asarray(cosines > np.quantile(background, 1 - false_alarms))


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
        unlike = draw.uniform(low, edge[0] - 0.005, size=30 - many)
        cases.append((draw.permutation(np.concatenate([alike, unlike])), background, false_alarms))
    return cases


def _judge_decision(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [call_alike(*case) for case in cases]
    got = [np.asarray(value) for value in values]
    for mine, theirs in zip(right, got, strict=True):
        if theirs.shape != mine.shape:
            return f"the shape is {theirs.shape}, and it should be {mine.shape}: True or False for each pair."
        if not np.isin(theirs, (0, 1)).all():
            return f"{theirs.ravel()[0]} isn't True or False: return a decision for each pair, not a score."
    decisions = [theirs.astype(bool) for theirs in got]
    wrong = [int((mine != theirs).sum()) for mine, theirs in zip(right, decisions, strict=True)]
    if not any(wrong):
        return None
    worst = int(np.argmax(wrong))
    cosines, background, share = cases[worst]
    told = (
        f"{wrong[worst]} of {len(cosines)} pairs are decided wrongly by a model whose unrelated pairs have cosines "
        f"from {background.min():.2f} to {background.max():.2f}"
    )
    for sentence, mistake in _decision_mistakes(cases).items():
        if all(np.array_equal(a, b) for a, b in zip(decisions, mistake, strict=True)):
            return f"{sentence}: {told}."
    for theirs, (values_of, _, _) in zip(decisions, cases, strict=True):
        if theirs.any() and not theirs.all() and values_of[theirs].min() < values_of[~theirs].max():
            return f"a pair is called alike and another of higher cosine isn't: {told}. Compare with one limit."
    return f"{told}. The limit is the cosine that a share of {share} of the background lies above."


def _decision_mistakes(cases: Sequence[Case]) -> dict[str, list[NDArray[np.bool_]]]:
    def each(rule: Any) -> list[NDArray[np.bool_]]:
        return [np.asarray(rule(c, b, f)) for c, b, f in cases]

    mistakes = {
        f"a fixed limit of about {limit} carries the scale of one model": each(lambda c, b, f, limit=limit: c > limit)
        for limit in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
    }
    return mistakes | {
        "that is a quantile of the pairs themselves, which calls the same share alike whatever they are; take it of "
        "the background": each(lambda c, b, f: c > np.quantile(c, 1 - f)),
        "the wrong tail: nearly all unrelated pairs lie above that limit; take 1 - false_alarms": each(
            lambda c, b, f: c > np.quantile(b, f)
        ),
        "above the middle of the background (its mean) lies about half of it": each(lambda c, b, f: c > b.mean()),
        "above the middle of the background (its median) lies half of it": each(lambda c, b, f: c > np.median(b)),
        "np.percentile counts from 0 to 100; with a share of 1 use np.quantile": each(
            lambda c, b, f: c > np.percentile(b, 1 - f)
        ),
        "the decision is turned round; a high cosine means alike": [~call_alike(*case) for case in cases],
        "nothing of the background is let through; a share of it was allowed": each(lambda c, b, f: c > b.max()),
    }


TASKS = {
    task.id: task
    for task in (
        Task("04.1", _prefix_cases, _judge_prefixes),
        Task("04.2", _loss_cases, _judge_loss),
        Task("04.3", _pooling_cases, _judge_pooling),
        Task("04.4", _decision_cases, _judge_decision),
    )
}
