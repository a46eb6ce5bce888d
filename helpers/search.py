"""Search beside vectors: BM25, and the fusion of rankings; only what the benchmark uses.

A run is `{query id: {document id: score}}`, best where the score is highest, as trec_eval has it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from helpers.data import Retrieval

Run = dict[str, dict[str, float]]
TOP_K = 100
K1, B = 1.2, 0.75  # Lucene's, and so those of most search engines
RRF_K = 60


def words(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text as BM25 counts them: in lower case, of two characters or more, without stop words."""
    import bm25s

    found: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    return found


def bm25(search: Retrieval, k: int = TOP_K) -> Run:
    """The k best documents of each query by BM25, those that share no word with it left out.

    By bm25s, in Lucene's variant (Robertson and Zaragoza 2009; Kamphuis et al. 2020). A query that is a document too
    isn't among its own answers, as in BEIR.
    """
    import bm25s

    ids, own = np.array(list(search.corpus), dtype=object), search.own_documents
    documents = words(list(search.corpus.values()))
    if not any(documents):
        return {query: {} for query in search.queries}
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index(documents, show_progress=False)
    run: Run = {}
    for query, asked in zip(search.queries, words(list(search.queries.values())), strict=True):
        scores = index.get_scores(asked) if asked else np.zeros(len(ids), dtype=np.float32)
        best = np.argsort(-scores, kind="stable")[: k + 1]
        named = [(str(ids[i]), float(scores[i])) for i in best if scores[i] > 0]
        run[query] = dict([(d, s) for d, s in named if not (d == query and query in own)][:k])
    return run


def rrf(runs: Sequence[Mapping[str, Mapping[str, float]]], weights: Sequence[float] = (), k: int = RRF_K) -> Run:
    """Reciprocal rank fusion: a document gets weight / (k + rank) from each run that has it, the best rank being 1.

    Ranks alone count, so scores of unlike scales can be fused (Cormack et al. 2009).

    Args:
        runs: of the same queries.
        weights: of the runs; equal where none are given.
        k: the larger, the less the first ranks stand out.
    """
    fused: Run = {}
    for query in runs[0]:
        scores: defaultdict[str, float] = defaultdict(float)
        for run, weight in zip(runs, weights or [1.0] * len(runs), strict=True):
            found = run[query]
            for rank, document in enumerate(sorted(found, key=lambda d: (-found[d], d)), start=1):
                scores[document] += weight / (k + rank)
        fused[query] = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:TOP_K])
    return fused
