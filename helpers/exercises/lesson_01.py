"""Exercise 01: pooling, ranking and truncation, the three things under every `encode`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helpers import bundled, data
from helpers.checks import Task

Case = tuple[Any, ...]


def mean_pooling(token_embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Reference: the mean of the real tokens' vectors (Reimers and Gurevych 2019)."""
    mask = attention_mask.unsqueeze(-1).to(token_embeddings.dtype)
    return (token_embeddings * mask).sum(dim=1) / mask.sum(dim=1)


def _pooling_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for batch, tokens, dims in ((3, 7, 5), (7, 7, 7), (1, 4, 6)):
        lengths = torch.randint(1, tokens, (batch,), generator=draw)
        mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
        cases.append((torch.randn(batch, tokens, dims, generator=draw) + 0.5, mask))
    return cases


def _judge_pooling(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (tokens, mask), value in zip(cases, values, strict=True):
        right, got = mean_pooling(tokens, mask), torch.as_tensor(value).float()
        if got.shape == right.shape and torch.allclose(got, right, atol=1e-5):
            continue
        if got.shape != right.shape:
            return (
                f"the shape is {tuple(got.shape)}, and it should be {tuple(right.shape)}, one vector a text: "
                "reduce the axis of the tokens (dim=1)."
            )
        first = f"{got[0, 0]:.3f} instead of {right[0, 0]:.3f}"
        known = {
            f"your mean includes the padding rows: {first}. Use the attention mask.": tokens.mean(dim=1),
            f"that is a sum, not a mean: {first}. Divide by the number of real tokens.": right * mask.sum(1, True),
            f"the padding is left out of the sum but counted in the division: {first}. Divide by the mask's sum, "
            "not by the padded length.": right * mask.sum(1, True) / tokens.shape[1],
            f"that is the first token's vector (CLS pooling): {first}. Average over all real tokens.": tokens[:, 0],
            f"these are unit vectors: {first}. The mean alone is asked for; normalising is another step.": (
                torch.nn.functional.normalize(right, dim=1)
            ),
            f"that is the maximum over the tokens: {first}. Take the mean.": (
                tokens.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(dim=1)
            ),
        }
        for sentence, mistake in known.items():
            if torch.allclose(got, mistake, atol=1e-5):
                return sentence
        return f"the vectors are wrong: {first} in the first place. Average each text's real tokens."
    return None


def rank_documents(query: NDArray[np.float32], documents: NDArray[np.float32]) -> list[int]:
    """Reference: document numbers by falling cosine similarity with the query."""
    cosine = documents @ query / np.linalg.norm(documents, axis=1) / np.linalg.norm(query)
    return [int(i) for i in np.argsort(-cosine)]


def _ranking_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for documents in (6, 30):
        lengths = draw.uniform(0.2, 5.0, size=(documents, 1))
        vectors = (draw.normal(size=(documents, 16)) * lengths).astype(np.float32)
        cases.append((draw.normal(size=16).astype(np.float32) * 3, vectors))
    return cases


def _judge_ranking(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (query, documents), value in zip(cases, values, strict=True):
        right, got = rank_documents(query, documents), np.asarray(value)
        n = len(documents)
        if got.shape != (n,):
            return f"the shape is {got.shape}, and it should be ({n},): every document's number, best first."
        if not np.array_equal(np.sort(got), np.arange(n)):
            return f"these aren't the numbers 0 to {n - 1}, each once: return positions (argsort), not similarities."
        if got.tolist() == right:
            continue
        dot = np.argsort(-(documents @ query)).tolist()
        if got.tolist() == right[::-1]:
            return f"the order is turned round: document {right[-1]} comes first and is the least similar. Sort falling."
        if got.tolist() in (dot, dot[::-1]):
            place = next(i for i in range(n) if dot[i] != right[i])
            return (
                f"that is the order of dot products: at rank {place + 1} document {dot[place]} wins by its length, "
                f"while {right[place]} points more nearly where the query does. Divide by the lengths (cosine)."
            )
        distance = np.argsort(np.linalg.norm(documents - query, axis=1)).tolist()
        if got.tolist() == distance:
            return "that is the order of Euclidean distances; on vectors of unequal length it isn't that of cosines."
        if got.tolist() == list(range(n)):
            return "the documents are in their first order; sort them by similarity."
        return f"document {got[0]} is first, and {right[0]} should be. Compute the cosine with each row, sort falling."
    return None


def tokens_lost(text: str, tokenizer: Any, max_seq_length: int) -> int:
    """Reference: how many tokens of a text don't fit, special tokens counted as the model counts them."""
    return max(0, len(tokenizer(text, truncation=False, verbose=False)["input_ids"]) - max_seq_length)


def _truncation_cases(seed: int) -> list[Case]:
    texts = sorted(data.texts(), key=len)
    draw = np.random.default_rng(seed)
    some = [*draw.choice(texts[:100], 2), *draw.choice(texts[-40:], 3)]
    model = bundled.minilm()
    return [(str(text), model.tokenizer, limit) for text in some for limit in (32, 256)]


def _judge_truncation(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [tokens_lost(*case) for case in cases]
    if any(not isinstance(value, int | np.integer) for value in values):
        return f"it returns {type(values[0]).__name__}; return a whole number of tokens."
    got = [int(value) for value in values]
    if got == right:
        return None
    worst = max(range(len(right)), key=lambda i: abs(got[i] - right[i]))
    text, tokenizer, limit = cases[worst]
    told = f"{got[worst]} instead of {right[worst]} for a text of {len(text.split())} words and a limit of {limit}"
    mistakes = {
        "that counts words; the limit is in tokens, and a word may be several": [
            max(0, len(t.split()) - m) for t, _, m in cases
        ],
        "the special tokens [CLS] and [SEP] take two of the places": [
            max(0, len(k(t, add_special_tokens=False, verbose=False)["input_ids"]) - m) for t, k, m in cases
        ],
        "that counts characters; the limit is in tokens": [max(0, len(t) - m) for t, _, m in cases],
        "a text that fits loses nothing: never go below 0": [
            len(k(t, verbose=False)["input_ids"]) - m for t, k, m in cases
        ],
        "that is the length of the text; take away what fits": [len(k(t, verbose=False)["input_ids"]) for t, k, m in cases],
    }
    for sentence, wrong in mistakes.items():
        if got == wrong:
            return f"{sentence}: {told}."
    if not any(got):
        return f"nothing is ever lost: {told}. Did the tokenizer truncate before you counted? Pass truncation=False."
    return f"{told}. Count the tokens, special ones included, and take away the limit."


TASKS = {
    task.id: task
    for task in (
        Task(
            "01.1",
            "Mean pooling that leaves out the padding",
            4,
            _pooling_cases,
            _judge_pooling,
            (
                "Padding rows hold numbers too. What tells you which rows are real?",
                "Multiply by the mask before summing: `attention_mask.unsqueeze(-1)` has the shape to do it.",
                "Sum over dim=1, then divide by the mask's sum over dim=1, not by the padded length.",
            ),
        ),
        Task(
            "01.2",
            "Rank documents by cosine similarity",
            3,
            _ranking_cases,
            _judge_ranking,
            (
                "Cosine looks at directions only: what has to go from the dot product?",
                "Divide `documents @ query` by the length of each row and of the query.",
                "`np.argsort` sorts rising; negate, or turn round.",
            ),
        ),
        Task(
            "01.3",
            "Count what truncation throws away",
            3,
            _truncation_cases,
            _judge_truncation,
            (
                "Ask the tokenizer, not `str.split`: `tokenizer(text)['input_ids']` is what the model reads.",
                "`truncation=False` keeps the tokenizer from cutting first; its result holds [CLS] and [SEP].",
                "What is beyond `max_seq_length` is lost; a shorter text loses 0.",
            ),
        ),
    )
}
