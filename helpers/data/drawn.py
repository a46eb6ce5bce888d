"""A smaller data set drawn from a large one, so that a benchmark ends in a coffee break."""

from dataclasses import replace

import numpy as np

from helpers.data.dataset import Dataset, Pairs, Retrieval
from helpers.errors import CourseError

EASIER = (
    "a smaller corpus is easier, so scores are higher than on the whole: compare models, not with published figures"
)


def limited(dataset: Dataset, limit: int, seed: int = 0) -> Dataset:
    """At most `limit` pairs, documents and texts, drawn by `seed`; judged documents are kept.

    Where the judged documents alone are more than that, queries are drawn too.

    Raises:
        CourseError: limit is below 2, or below the judged documents of one query.
    """
    if limit < 2:
        raise CourseError(f"limit is {limit}; it must be 2 or more.")
    draw = np.random.default_rng(seed)
    notes = list(dataset.notes)
    pairs, search, alone = dataset.pairs, dataset.retrieval, dataset.alone
    if pairs and len(pairs) > limit:
        notes.append(f"limit: {limit:,} of {len(pairs):,} pairs, drawn with seed {seed}.")
        pairs = _pairs(pairs, limit, draw)
    if search and len(search.corpus) > limit:
        smaller = _search(search, limit, draw)
        notes.append(
            f"limit: {len(smaller.corpus):,} of {len(search.corpus):,} documents and {len(smaller.queries):,} of "
            f"{len(search.queries):,} queries, drawn with seed {seed}, judged documents kept; {EASIER}."
        )
        search = smaller
    if len(alone) > limit:
        notes.append(f"limit: {limit:,} of {len(alone):,} texts, drawn with seed {seed}.")
        alone = tuple(alone[i] for i in np.sort(draw.permutation(len(alone))[:limit]))
    return replace(dataset, pairs=pairs, retrieval=search, alone=alone, notes=tuple(notes))


def _pairs(pairs: Pairs, limit: int, draw: np.random.Generator) -> Pairs:
    """Drawn so that the lowest and the highest label are there, whatever is rare."""
    order = draw.permutation(len(pairs))
    ends = [order[np.argmax(pairs.gold[order] == end)] for end in (pairs.gold.min(), pairs.gold.max())]
    rest = order[~np.isin(order, ends)][: limit - len(ends)]
    rows = np.sort(np.concatenate([ends, rest]))
    kept = [tuple(column[i] for i in rows) for column in (pairs.sentence1, pairs.sentence2)]
    kind, group = (tuple(column[i] for i in rows) if column else None for column in (pairs.kind, pairs.group))
    return Pairs(kept[0], kept[1], pairs.gold[rows], pairs.graded, kind, group)


def _search(search: Retrieval, limit: int, draw: np.random.Generator) -> Retrieval:
    queries = list(search.qrels)
    kept: dict[str, None] = {}
    chosen: set[str] = set()
    for place in draw.permutation(len(queries)):
        there = [document for document in search.qrels[queries[place]] if document in search.corpus]
        if len(kept.keys() | set(there)) <= limit:
            kept.update(dict.fromkeys(there))
            chosen.add(queries[place])
    if not any(relevance > 0 for query in chosen for relevance in search.qrels[query].values()):
        raise CourseError(f"limit is {limit}, below the judged documents of one query; name a larger one.")
    ids = list(search.corpus)
    for place in draw.permutation(len(ids)):
        if len(kept) >= limit:
            break
        kept[ids[place]] = None
    return Retrieval(
        {name: text for name, text in search.corpus.items() if name in kept},
        {query: text for query, text in search.queries.items() if query in chosen},
        {query: found for query, found in search.qrels.items() if query in chosen},
        titles=search.titles,
    )
