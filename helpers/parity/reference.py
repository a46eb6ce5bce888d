"""What the real model gives for a text, right or under a fault: from its loaded weights, token by token.

A `Variant` is a way in which runtimes go wrong; several at once are one variant too. Vectors are unit vectors, since
lengths are looked at apart.
"""

import unicodedata
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from helpers.errors import CourseError

Floats = NDArray[np.float64]
Side = Literal["query", "document", ""]


@dataclass(frozen=True)
class Variant:
    """How a text becomes a vector; the defaults are the model's own way.

    Attributes:
        opening: whether the first special token is there.
        closing: whether the last special token is there.
        pooling: "own", "cls", "mean", "last" or "max".
        prompt: "own", "missing", "doubled", "other side", or "added: " and what is added.
        casing: "own", "lower" or "kept".
        accents: "own", "stripped" or "kept".
        limit: tokens read, special ones included; 0 is the model's own.
    """

    opening: bool = True
    closing: bool = True
    pooling: str = "own"
    prompt: str = "own"
    casing: str = "own"
    accents: str = "own"
    limit: int = 0

    def faults(self) -> list[str]:
        """What is wrong, by the name of the field."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


RIGHT = Variant()
ADDED = (
    "query: ",
    "passage: ",
    "search_query: ",
    "search_document: ",
    "Represent this sentence for searching relevant passages: ",
)


class Reference:
    """The real model, opened up.

    Args:
        model: a transformer with a fast tokenizer, pooling, and what follows.

    Raises:
        CourseError: it is anything else.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        backend = getattr(getattr(model[0], "tokenizer", None), "backend_tokenizer", None)
        mode = getattr(model[1], "pooling_mode", None) if len(model) > 1 else None
        if backend is None or not hasattr(model[0], "model") or not isinstance(mode, str):
            raise CourseError(
                "A reference is a transformer in PyTorch with a fast tokenizer and one pooling; name such a model, "
                "such as all-MiniLM-L6-v2."
            )
        self.model, self.pooling = model, {"lasttoken": "last"}.get(mode, mode)
        self._text = backend.to_str()
        own = self._tokenizer(RIGHT)
        frame = own.encode("a")
        inside = [i for i, special in enumerate(frame.special_tokens_mask) if not special]
        self.before, self.after = frame.ids[: inside[0]], frame.ids[inside[-1] + 1 :]
        self.limit = int(min(model.max_seq_length or 10**9, 8192))
        self.dims = int(model.get_embedding_dimension() or 0)
        normalizer = own.normalizer
        self.lowers = bool(normalizer) and normalizer.normalize_str("ABC") != "ABC"
        self.strips = bool(normalizer) and normalizer.normalize_str("é") != "é"
        encoder: Any = model[0]
        self.positions = int(getattr(encoder.model.config, "max_position_embeddings", 512))
        self.normalises = any(type(module).__name__ == "Normalize" for module in model)
        self.prompts = {side: model.prompts.get(side) or "" for side in ("query", "document")}
        self._vector = lru_cache(maxsize=10_000)(self._compute)

    def vectors(self, texts: list[str], variant: Variant = RIGHT, side: Side = "") -> Floats:
        """(n, d) unit vectors."""
        return np.stack([self._vector(text, variant, side) for text in texts])

    def variants(self) -> dict[str, list[Variant]]:
        """The single faults that this model can have, by field."""
        other = [mode for mode in ("cls", "mean", "last", "max") if mode != self.pooling]
        prompts = ["missing", "doubled", "other side"] if any(self.prompts.values()) else [f"added: {p}" for p in ADDED]
        return {
            "opening": [Variant(opening=False)] if self.before else [],
            "closing": [Variant(closing=False)] if self.after else [],
            "pooling": [Variant(pooling=mode) for mode in other],
            "prompt": [Variant(prompt=prompt) for prompt in prompts],
            "casing": [Variant(casing="kept" if self.lowers else "lower")],
            "accents": [Variant(accents="kept" if self.strips else "stripped")],
        }

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides on which the model reads a text in its own way."""
        return ("query", "document") if any(self.prompts.values()) else ("",)

    def ids(self, text: str, variant: Variant, side: Side) -> list[int]:
        """The token ids that reach the network."""
        text = self._prompt(variant.prompt, side) + text
        if variant.casing == "lower":
            text = text.lower()
        if variant.accents == "stripped":
            text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        inner = self._tokenizer(variant).encode(text, add_special_tokens=False).ids
        room = (variant.limit or self.limit) - len(self.before) - len(self.after)
        return [
            *(self.before if variant.opening else []),
            *inner[: max(room, 0)],
            *(self.after if variant.closing else []),
        ]

    def _prompt(self, how: str, side: Side) -> str:
        own = self.prompts.get(side, "")
        other = self.prompts["document" if side == "query" else "query"] if side else ""
        made = {"own": own, "missing": "", "doubled": own * 2, "other side": other}
        return made[how] if how in made else how.removeprefix("added: ")

    def _tokenizer(self, variant: Variant) -> Tokenizer:
        return _tokenizer(self._text, variant.casing == "kept", variant.accents == "kept")

    def _compute(self, text: str, variant: Variant, side: Side) -> Floats:
        ids = self.ids(text, variant, side) or [0]
        states = self.states([ids])[0]
        mode = self.pooling if variant.pooling == "own" else variant.pooling
        return self.finish(
            {"cls": states[0], "last": states[-1], "mean": states.mean(dim=0), "max": states.amax(dim=0)}[mode]
        )

    def states(self, rows: list[list[int]]) -> torch.Tensor:
        """(texts, tokens, width): hidden states of rows filled up to the longest."""
        encoder: Any = self.model[0]
        longest = max(map(len, rows))
        padding = encoder.tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [padding] * (longest - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.model.device)
        with torch.inference_mode():
            found: torch.Tensor = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return found

    def finish(self, pooled: torch.Tensor) -> Floats:
        """A pooled vector through the model's last modules, as a unit vector."""
        features: dict[str, Any] = {"sentence_embedding": pooled[None]}
        with torch.inference_mode():
            for module in list(self.model)[2:]:
                features = module(features)
        vector = features["sentence_embedding"][0].float().cpu().numpy().astype(np.float64)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))

    def padded_mean(self, texts: list[str], variant: Variant = RIGHT) -> Floats:
        """(n, d): the mean over each text's tokens and its padding, as they stand in one batch."""
        states = self.states([self.ids(text, variant, "") for text in texts])
        return np.stack([self.finish(each.mean(dim=0)) for each in states])


@lru_cache(maxsize=8)
def _tokenizer(text: str, keeps_case: bool, keeps_accents: bool) -> Tokenizer:
    made = Tokenizer.from_str(text)
    made.no_truncation()
    made.no_padding()
    if (keeps_case or keeps_accents) and isinstance(made.normalizer, BertNormalizer):
        made.normalizer = BertNormalizer(lowercase=not keeps_case, strip_accents=not keeps_accents)
    return made


def joined(*variants: Variant) -> Variant:
    """Several faults at once."""
    made = RIGHT
    for variant in variants:
        made = replace(made, **{name: getattr(variant, name) for name in variant.faults()})
    return made
