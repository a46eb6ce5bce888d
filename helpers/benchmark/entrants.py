"""What takes part beside models: `bm25`, and `bm25+NAME`, in which its ranking and a model's are fused by ranks.

`bm25:0.2+NAME` weighs BM25's ranking a fifth of the model's. They rank documents for queries and say nothing of two
sentences, so on labelled pairs they have no score.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule

from helpers import data, search
from helpers.errors import CourseError
from helpers.models.provenance import Weights, mark

BM25 = "bm25"
_NAME = re.compile(r"bm25(?::(?P<weight>\d*\.?\d+))?(?:\+(?P<model>.+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Entrant:
    """BM25 alone (`model` is empty), or its ranking fused with that of a model.

    Attributes:
        model: the name of the model beside it.
        weight: of BM25's ranking; the model's is 1.
    """

    model: str
    weight: float

    def suits(self, dataset: data.Dataset, quality: str | None) -> None:
        """Refuse data, or a score, on which nothing is ranked.

        Raises:
            CourseError: there are no queries, or the score that ranks is one of pairs.
        """
        if not dataset.retrieval:
            raise CourseError(f"BM25 ranks documents for queries, and '{dataset.name}' has no queries.")
        if quality is not None and "@" not in quality:
            raise CourseError(f"BM25 ranks documents for queries, so it has no {quality}; rank by ndcg@10.")

    def run(self, dense: search.Run, retrieval: data.Retrieval) -> search.Run:
        """BM25's run, fused with the model's where there is one."""
        lexical = search.bm25(retrieval)
        return search.rrf([dense, lexical], [1, self.weight]) if self.model else lexical


def entrant(name: str) -> Entrant | None:
    """What a name that begins with bm25 stands for; None for any other."""
    found = _NAME.fullmatch(name.strip())
    return Entrant((found["model"] or "").strip(), float(found["weight"] or 1)) if found else None


class Words(InputModule):
    """Texts to how many words BM25 counts in them: its share of the work, so that it can be timed like a model."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def max_seq_length(self) -> None:
        """No limit."""

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """(texts, 1): how many words each text has."""
        return {"sentence_embedding": torch.tensor([[float(len(found))] for found in search.words(list(inputs))])}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Nothing left to do."""
        return features

    def get_embedding_dimension(self) -> int:
        """It keeps no vector."""
        return 0

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not offered: there is nothing to keep.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("BM25 has no weights to save.")


def counter() -> SentenceTransformer:
    """What is timed in BM25's place."""
    model = SentenceTransformer(modules=[Words()], device="cpu")
    mark(model, Weights("bundled", "BM25 by bm25s, no weights"))
    return model
