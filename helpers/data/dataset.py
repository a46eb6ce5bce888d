"""What a data set is: labelled or graded pairs of sentences, a retrieval set, long documents.

Two shapes to judge a model on, named as the field names them; reading files is left to `labelled` and
`layouts`, scoring to `metrics`.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.errors import CourseError


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences with what people said of them.

    `gold` has shape (n,): 0 or 1 (`graded` is False) or a graded score on any scale (True).
    `kind` names the sort of each pair, and `group` the cluster to which it belongs, where the file has such columns;
    pairs of one group (of one document, one customer) aren't independent, and an empty group is none.
    """

    sentence1: tuple[str, ...]
    sentence2: tuple[str, ...]
    gold: NDArray[np.float64]
    graded: bool
    kind: tuple[str, ...] | None = None
    group: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.gold)


@dataclass(frozen=True)
class Retrieval:
    """A retrieval set in BEIR's terms.

    `corpus` and `queries` map an id to its text (a title is put before the text, with a space);
    `qrels` maps a query id to the ids of its judged documents and their relevance. A document may be empty, and a
    judged one may be missing: it is then never found. `titles` holds the titles of documents with a query's id.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    titles: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @cached_property
    def own_documents(self) -> frozenset[str]:
        """The queries that are documents too, with the same id and the same text (its title aside), and no judgement.

        ArguAna and Quora hold their queries so; BEIR leaves such a document out of the query's answers. The id alone
        says nothing, since many number queries and documents both from 1.
        """
        return frozenset(
            query
            for query, text in self.queries.items()
            if query in self.corpus
            and query not in self.qrels.get(query, {})
            and text.strip() in (self.corpus[query].strip(), self._untitled(query).strip())
        )

    def _untitled(self, document: str) -> str:
        text, title = self.corpus[document], self.titles.get(document, "")
        return text.removeprefix(title + " ") if title else text


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
    """What a benchmark runs on: pairs, a retrieval set, or both; or `alone`, texts that nobody judged.

    `notes` says what was understood and left out as it was read, a sentence each.
    """

    name: str
    pairs: Pairs | None = None
    retrieval: Retrieval | None = None
    alone: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """What it holds, in a line: `40 pairs, labels 20/20` or `12 queries, 30 documents`."""
        said = []
        if self.pairs:
            similar = int((self.pairs.gold == 1).sum())
            labels = "graded" if self.pairs.graded else f"labels {similar:,}/{len(self.pairs) - similar:,}"
            said.append(f"{len(self.pairs):,} pairs, {labels}")
        if self.retrieval:
            said.append(f"{len(self.retrieval.qrels):,} queries, {len(self.retrieval.corpus):,} documents")
        return f"'{self.name}': {'; '.join(said) or 'no labels'}; {len(self.texts):,} distinct texts."

    def check(self) -> None:
        """See that there is enough to compare models on.

        Raises:
            CourseError: there are too few labels of a kind, or too few texts.
        """
        if self.alone and len(self.texts) < 3:
            raise CourseError(
                f"'{self.name}' holds {len(self.texts)} distinct texts; models can agree on three or more."
            )
        if self.pairs is None:
            return
        if self.pairs.graded and len(self.pairs) < 4:
            raise CourseError(
                f"'{self.name}' has {len(self.pairs)} graded pairs; a correlation needs four, and dozens to say much."
            )
        similar = int((self.pairs.gold == 1).sum())
        if not self.pairs.graded and min(similar, len(self.pairs) - similar) < 2:
            raise CourseError(
                f"'{self.name}' has {similar} similar and {len(self.pairs) - similar} dissimilar pairs; a benchmark "
                "needs at least two of each, and dozens to tell models apart."
            )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every distinct text, in order of first appearance."""
        pairs = (self.pairs.sentence1, self.pairs.sentence2) if self.pairs else ()
        search = (self.retrieval.queries.values(), self.retrieval.corpus.values()) if self.retrieval else ()
        return tuple(dict.fromkeys(itertools.chain(*pairs, *search, self.alone)))

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of texts, labels and judgements: two datasets with the same one are the same."""
        parts: list[list[Any]] = []
        if self.pairs:
            parts.append([self.pairs.sentence1, self.pairs.sentence2, self.pairs.gold])
        if self.retrieval:
            parts.append([self.retrieval.corpus, self.retrieval.queries, self.retrieval.qrels])
        if self.retrieval and self.retrieval.own_documents:
            parts.append([sorted(self.retrieval.own_documents)])
        if self.alone:
            parts.append([self.alone])
        digest = hashlib.sha256()
        for piece in _json_pieces(parts):
            digest.update(piece.encode())
        return digest.hexdigest()


SLICE = 10_000


def _json_pieces(parts: Sequence[Sequence[Any]]) -> Iterator[str]:
    """`json.dumps(parts)`, a piece at a time, so that a fingerprint needs no second copy of the data."""
    for first, part in enumerate(parts):
        yield ", [" if first else "[["
        for place, column in enumerate(part):
            yield ", " if place else ""
            opening, closing = "{}" if isinstance(column, dict) else "[]"
            yield opening
            entries = iter(column.items() if isinstance(column, dict) else column)
            separator = ""
            while chunk := list(itertools.islice(entries, SLICE)):
                made = dict(chunk) if isinstance(column, dict) else [_plain(value) for value in chunk]
                yield separator + json.dumps(made)[1:-1]
                separator = ", "
            yield closing
        yield "]"
    yield "]" if parts else "[]"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
