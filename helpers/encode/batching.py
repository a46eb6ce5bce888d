"""Encode many texts of mixed lengths without computing padding.

`encode` gives the vectors of `SentenceTransformer.encode`, in the same order, in less time:

- texts of similar length go together, as many as a budget of tokens allows;
- where the model is a BERT, RoBERTa, XLM-R or MPNet with mean or first-token pooling, there is no padding at all
  (`unpadded`), and batches are filled up with shorter texts.

Files too large for the memory are `stream`'s.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers.encode.auto import chosen_way, run_as
from helpers.encode.tokens import token_counts
from helpers.errors import CourseError
from helpers.models.unpadded import Unpadded, runs_unpadded

TOKEN_BUDGET = 1024
Plan = Callable[[Sequence[int], int], list[NDArray[np.int64]]]  # lengths and a budget to batches


class RowError(CourseError):
    """One text can't be encoded. `row` is its number in `texts`, from 0; `problem` says what is wrong with it."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"texts[{row}] {problem}")
        self.row, self.problem = row, problem


Floats = NDArray[np.float32]


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    token_budget: int = TOKEN_BUDGET,
    prompt_name: str | None = None,
    prompt: str | None = None,
    pack: bool = True,
    precision: str | None = None,
    loss: float = 0.0,
) -> Floats:
    """The vectors of `model.encode(texts)`, in the same order, by batches of similar lengths.

    In float32 they are equal to the library's within 1e-5. A model loaded in bfloat16 runs in it.

    Args:
        model: any Sentence Transformers model. One for which `runs_unpadded` holds runs unpadded.
        texts: n texts, an empty one included if need be; what is beyond `max_seq_length` is cut.
        token_budget: tokens a batch, padding included. A longer text makes a batch of its own.
        prompt_name: of one of `model.prompts`; None is the model's default.
        prompt: put before each text; wins over `prompt_name`.
        pack: on a CPU, copy the weights of an unpadded model into a faster layout: as much memory again.
        precision: "auto" is the fastest way that this machine has (tried once, kept in the cache), or a name of
            `models.ways.WAYS`; None runs the model as it was loaded.
        loss: with "auto", the 1 - cosine that may be lost, on a sample of the course's texts; 0 allows only ways that
            change no number by more than 1e-5.

    Returns:
        (n, d), float32.

    Raises:
        RowError: a text holds half a character (a lone surrogate), or the model gives numbers for it that
            aren't finite.
        CourseError: one string instead of several, a budget below 1, no such prompt, or bfloat16 on a CPU
            that has no instructions for it.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise CourseError("texts must be a list of strings; for a single text write [text].")
    for row, text in enumerate(texts):
        if problem := half_character(text):
            raise RowError(row, problem)
    if token_budget < 1:
        raise CourseError(f"token_budget is {token_budget}; it must be 1 or more.")
    if model.dtype == torch.bfloat16 and model.device.type == "cpu" and not cpu_has_bfloat16():
        raise CourseError(
            "This CPU has no instructions for bfloat16 (AVX512-BF16, AMX or Arm's), so it would be slower than "
            "float32; load the model without dtype."
        )
    before = _prompt(model, prompt_name, prompt)
    if precision:
        model = run_as(model, chosen_way(model, precision, loss, encode))
    vectors = np.empty((len(texts), int(model.get_embedding_dimension() or 0)), dtype=np.float32)
    unpadded = getattr(model[0], "unpadded", None)  # one that `models.ways` made
    if unpadded or runs_unpadded(model):
        ids = _token_ids(model, [before + text for text in texts])
        lengths = [len(row) for row in ids]
        # For a few tokens the weights aren't worth the copy.
        unpadded = unpadded or Unpadded(model, pack=pack and sum(lengths) >= TOKEN_BUDGET)
        for batch in full_batches(lengths, token_budget):
            vectors[batch] = unpadded([ids[i] for i in batch])[:, : model.truncate_dim]
    else:
        lengths = token_counts(model, [before + text for text in texts]) or [len(text) for text in texts]
        for batch in batches(lengths, token_budget):
            part = [texts[i] for i in batch]
            vectors[batch] = model.encode(part, prompt=before, batch_size=len(part), show_progress_bar=False)
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        row = int(finite.argmin())
        shown = repr(texts[row][:60])
        raise RowError(row, f"({shown}) gets a vector with NaN or infinity from the model; try it in float32.")
    return vectors


def half_character(text: str) -> str | None:
    """What is wrong with a text that holds a lone surrogate, which no tokenizer reads; None for a whole text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds half a character ({text[error.start]!a}) at place {error.start + 1}; mend or drop it."
    return None


def batches(lengths: Sequence[int], token_budget: int) -> list[NDArray[np.int64]]:
    """Indices of texts in batches of similar lengths, the longest texts first.

    A batch of k texts, padded to its longest, holds at most `token_budget` tokens, unless one text alone
    holds more.

    Args:
        lengths: tokens of each text.
        token_budget: tokens a batch, padding included.
    """
    plan: list[list[int]] = []
    for i in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable"):
        if not plan or lengths[plan[-1][0]] * (len(plan[-1]) + 1) > token_budget:
            plan.append([])
        plan[-1].append(int(i))
    return [np.array(batch) for batch in plan]


def full_batches(lengths: Sequence[int], token_budget: int) -> list[NDArray[np.int64]]:
    """Indices of texts in batches for a model that pads nothing, filled up to the budget with shorter texts.

    The longest text that is left begins a batch, and the longest that still has room goes in until none has: most
    batches then hold just the budget, a number of tokens for which the products are fastest and prepared once.

    Args:
        lengths: tokens of each text.
        token_budget: tokens a batch; a longer text is a batch of its own.
    """
    left: dict[int, list[int]] = {}
    for i in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")[::-1]:
        left.setdefault(lengths[i], []).append(int(i))
    known, plan = list(left), []  # the shortest first
    while known:
        batch, room, at = [], max(token_budget, known[-1]), len(known)
        while at := bisect_right(known, room, hi=at):
            length = known[at - 1]
            taken = min(len(left[length]), room // length if length else len(left[length]))
            batch += [left[length].pop() for _ in range(taken)]
            room -= taken * length
            at -= 1
            if not left[length]:
                known.pop(at)
        plan.append(np.array(batch))
    return plan


def padding_share(lengths: Sequence[int], plan: Sequence[Sequence[int] | NDArray[np.int64]]) -> float:
    """Share of the computed tokens that are padding, if each batch of a plan is padded to its longest text."""
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan)
    return 1 - sum(lengths[i] for batch in plan for i in batch) / computed


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16"))


def _prompt(model: SentenceTransformer, name: str | None, prompt: str | None) -> str:
    """The prompt that `SentenceTransformer.encode` would take."""
    if prompt is not None:
        return prompt
    name = name if name is not None else model.default_prompt_name
    if name is not None and name not in model.prompts:
        raise CourseError(f"The model has no prompt {name!r}; it has {', '.join(model.prompts) or 'none'}.")
    return model.prompts[name] or "" if name is not None else ""


def _token_ids(model: SentenceTransformer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, cut at `max_seq_length`, special tokens included."""
    tokenizer: Any = model.tokenizer
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    return ids
