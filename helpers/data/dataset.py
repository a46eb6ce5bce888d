"""What a data set is: labelled or graded pairs of sentences, a retrieval set, long documents.

Two shapes to judge a model on, named as the field names them; reading files is left to `formats`, scoring to `metrics`.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences with what people said of them.

    `gold` has shape (n,): 0 or 1 (`graded` is False) or a graded score on any scale (True).
    `kind` names the sort of each pair, where the file has such a column.
    """

    sentence1: tuple[str, ...]
    sentence2: tuple[str, ...]
    gold: NDArray[np.float64]
    graded: bool
    kind: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.gold)


@dataclass(frozen=True)
class Retrieval:
    """A retrieval set in BEIR's terms.

    `corpus` and `queries` map an id to its text (a title is put before the text, with a space);
    `qrels` maps a query id to the ids of its judged documents and their relevance.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class LongDocuments(Retrieval):
    """A retrieval set of long documents, each query answered by one passage deep in one of them.

    `answers` maps a query id to that passage, word for word; `where` to "beginning", "middle" or
    "end", the fifth of the document in which it stands.
    """

    answers: dict[str, str]
    where: dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """What a benchmark runs on: pairs, a retrieval set, or both."""

    name: str
    pairs: Pairs | None = None
    retrieval: Retrieval | None = None

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every distinct text, in order of first appearance."""
        pairs = (*self.pairs.sentence1, *self.pairs.sentence2) if self.pairs else ()
        search = (*self.retrieval.queries.values(), *self.retrieval.corpus.values()) if self.retrieval else ()
        return tuple(dict.fromkeys((*pairs, *search)))

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of texts, labels and judgements: two datasets with the same one are the same."""
        content: list[Any] = []
        if self.pairs:
            content.append([self.pairs.sentence1, self.pairs.sentence2, self.pairs.gold.tolist()])
        if self.retrieval:
            content.append([self.retrieval.corpus, self.retrieval.queries, self.retrieval.qrels])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
