"""Exercise 01: pooling, ranking and truncation, the three things under every `encode`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helpers import bundled, data
from helpers.checks.judges import ByReference, Number, Ranking, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float32]


# 01.1


def mean_pooling(token_embeddings: torch.Tensor, attention_mask: torch.Tensor, *, mean: bool = True) -> torch.Tensor:
    """Reference: the mean of the real tokens' vectors (Reimers and Gurevych 2019)."""
    mask = attention_mask.unsqueeze(-1).to(token_embeddings.dtype)
    return (token_embeddings * mask).sum(dim=1) / (mask.sum(dim=1) if mean else 1)


def _pooling_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for batch, tokens, dims in ((3, 7, 5), (7, 7, 7), (1, 4, 6)):
        lengths = torch.randint(1, tokens, (batch,), generator=draw)
        mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
        cases.append((torch.randn(batch, tokens, dims, generator=draw) + 0.5, mask))
    return cases


POOLING = ByReference(
    mean_pooling,
    Vectors("one vector a text: reduce the axis of the tokens (dim=1)"),
    "Average each text's real tokens.",
    mistakes={
        "your mean includes the padding rows; use the attention mask": lambda t, m: t.mean(dim=1),
        "that is a sum, not a mean; divide by the number of real tokens": {"mean": False},
        "the padding is left out of the sum but counted in the division; divide by the mask's sum, not by the padded "
        "length": lambda t, m: mean_pooling(t, m, mean=False) / t.shape[1],
        "that is the first token's vector (CLS pooling); average over all real tokens": lambda t, m: t[:, 0],
        "these are unit vectors, and the mean alone is asked for; normalising is another step": lambda t, m: (
            torch.nn.functional.normalize(mean_pooling(t, m), dim=1)
        ),
        "that is the maximum over the tokens; take the mean": lambda t, m: t.masked_fill(
            m.unsqueeze(-1) == 0, -torch.inf
        ).amax(dim=1),
    },
)


# 01.2


def rank_documents(query: Floats, documents: Floats) -> list[int]:
    """Reference: document numbers by falling cosine similarity with the query."""
    return _falling(documents @ query / np.linalg.norm(documents, axis=1))


def _falling(values: NDArray[Any]) -> list[int]:
    return [int(i) for i in np.argsort(-values)]


def _ranking_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for documents in (6, 30):
        lengths = draw.uniform(0.2, 5.0, size=(documents, 1))
        vectors = (draw.normal(size=(documents, 16)) * lengths).astype(np.float32)
        cases.append((draw.normal(size=16).astype(np.float32) * 3, vectors))
    return cases


RANKING = ByReference(
    rank_documents,
    Ranking(values="similarities"),
    "Compute the cosine with each row, sort falling.",
    mistakes={
        "the order is turned round, and the least similar comes first; sort falling": lambda q, d: rank_documents(q, d)[
            ::-1
        ],
        "that is the order of dot products, in which a document wins by its length; divide by the lengths (cosine)": (
            lambda q, d: _falling(d @ q)
        ),
        "that is the order of dot products, turned round; divide by the lengths, sort falling": lambda q, d: _falling(
            -d @ q
        ),
        "that is the order of Euclidean distances; on vectors of unequal length it isn't that of cosines": (
            lambda q, d: _falling(-np.linalg.norm(d - q, axis=1))
        ),
        "the documents are in their first order; sort them by similarity": lambda q, d: range(len(d)),
    },
)


# 01.3


def tokens_lost(text: str, tokenizer: Any, limit: int, *, least: float = 0, **options: Any) -> int:
    """Reference: how many tokens of a text don't fit, special tokens counted as the model counts them."""
    ids = tokenizer(text, **{"truncation": False, "verbose": False} | options)["input_ids"]
    return int(max(least, len(ids) - limit))


def _truncation_cases(seed: int) -> list[Case]:
    """Texts put together from short ones: five that lose tokens, one that loses one, and two that fit."""
    draw = np.random.default_rng(seed)
    tokenizer = bundled.minilm().tokenizer
    cases: list[Case] = []
    for i, sentences in enumerate((2, 4, 8, 20, 60, 3, 3, 3)):
        text = " ".join(draw.choice(data.texts()[:200], sentences))
        tokens = tokens_lost(text, tokenizer, 0)
        limits = [int(draw.integers(tokens // 3, tokens - 4))] * 5 + [
            tokens - 1,
            tokens,
            tokens + int(draw.integers(1, 40)),
        ]
        cases.append((text, tokenizer, limits[i]))
    return cases


TRUNCATION = ByReference(
    tokens_lost,
    Number("return a whole number of tokens", rtol=0, show=".0f"),
    "Count the tokens, special ones included, and take away the limit.",
    about=lambda text, _, limit: f" for a text of {len(text.split())} words and a limit of {limit}",
    mistakes={
        "that counts words; the limit is in tokens, and a word may be several": lambda t, k, m: max(
            0, len(t.split()) - m
        ),
        "the special tokens [CLS] and [SEP] take two of the places": {"add_special_tokens": False},
        "that counts characters; the limit is in tokens": lambda t, k, m: max(0, len(t) - m),
        "a text that fits loses nothing: never go below 0": {"least": -np.inf},
        "the tokenizer cut long texts before you counted; pass truncation=False": {"truncation": True},
        "that is the length of the text; take away what fits": lambda t, k, m: tokens_lost(t, k, 0),
        "nothing is ever lost; did the tokenizer truncate before you counted? Pass truncation=False": lambda t, k, m: 0,
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("01.1", _pooling_cases, POOLING),
        Task("01.2", _ranking_cases, RANKING),
        Task("01.3", _truncation_cases, TRUNCATION),
    )
}
