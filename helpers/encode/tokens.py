"""Texts to token ids, and token ids to vectors: the two halves of `encode`, apart.

A server counts before it computes: limits, usage and batches rest on the same ids. Queues are `batcher`'s,
HTTP is `server`'s.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from helpers.errors import CourseError
from helpers.models.unpadded import Unpadded, runs_unpadded

Floats = NDArray[np.float32]
Row = list[int]


class TokenizedModel:
    """A Sentence Transformers model that takes token ids.

    Attributes:
        max_tokens: tokens that the model reads of a text, special tokens included.
        dims: d, the size of a vector.
        pads: whether a batch is padded to its longest text.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        """Take a model with a fast tokenizer; anything else raises CourseError."""
        backend = getattr(getattr(model[0], "tokenizer", None), "backend_tokenizer", None)
        if backend is None or not all(getattr(module, "include_prompt", True) for module in model):
            raise CourseError(
                "Only transformer models with a fast tokenizer, whose pooling counts the prompt in, can be served; "
                "serve another one, such as all-MiniLM-L6-v2."
            )
        self.model = model
        self._unpadded: Unpadded | None = getattr(model[0], "unpadded", None)  # one that `models.ways` made
        if runs_unpadded(model):
            self._unpadded = Unpadded(model)
        # A copy: the library sets truncation on the original with each call, which two threads can't share.
        self._tokenizer = Tokenizer.from_str(backend.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocabulary = self._tokenizer.get_vocab_size()
        self.max_tokens = int(min(model.max_seq_length or 10**9, model.tokenizer.model_max_length))
        self.dims, self.pads = int(model.get_embedding_dimension() or 0), self._unpadded is None
        frame = self._tokenizer.encode("a")
        inside = [i for i, special in enumerate(frame.special_tokens_mask) if not special]
        self.before, self.after = frame.ids[: inside[0]], frame.ids[inside[-1] + 1 :]

    def release(self) -> None:
        """Forget weights that were copied into a faster layout; from then on only this runs the model."""
        if self._unpadded:
            self._unpadded.release()

    def tokenize(self, texts: Sequence[str]) -> list[Row]:
        """Token ids of each text, special tokens included, nothing cut. Releases the interpreter's lock."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def own(self, row: Row) -> bool:
        """Whether ids can be this tokenizer's: in its vocabulary, between its special tokens."""
        start, end = len(self.before), len(row) - len(self.after)
        return (
            start < end
            and row[:start] == self.before
            and row[end:] == self.after
            and min(row) >= 0
            and max(row) < self.vocabulary
        )

    def cut(self, row: Row) -> Row:
        """The first `max_tokens` ids, the closing special tokens kept, as the library truncates."""
        if len(row) <= self.max_tokens:
            return row
        return row[: self.max_tokens - len(self.after)] + self.after

    def encode(self, rows: list[Row]) -> Floats:
        """(n, d) float32 of n rows, the longest first; in one pass, unpadded where `runs_unpadded` holds."""
        with torch.inference_mode():
            if self._unpadded:
                return self._unpadded(rows)[:, : self.model.truncate_dim]
            tokenizer: Any = self.model.tokenizer
            features: dict[str, Any] = {"input_ids": rows}
            if "token_type_ids" in tokenizer.model_input_names:
                features["token_type_ids"] = [[0] * len(row) for row in rows]
            padded = tokenizer.pad(features, return_tensors="pt").to(self.model.device)
            vectors = self.model(dict(padded))["sentence_embedding"]
            return np.asarray(vectors[:, : self.model.truncate_dim].float().cpu().numpy())


def token_counts(model: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text as the model reads it, special tokens included; empty without a tokenizer."""
    tokenizer: Any = getattr(model[0], "tokenizer", None)
    if tokenizer is None:
        return []
    if hasattr(tokenizer, "encode_batch"):  # a bare `tokenizers.Tokenizer`, as static models have
        return [len(e.ids) for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    limit = model.max_seq_length or tokenizer.model_max_length
    return [min(len(ids), limit) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
