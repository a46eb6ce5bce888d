"""What the lessons claim, tried once more on texts that they don't use: the docstrings of scikit-learn.

A verdict fails where its opposite is told apart here. "Not told apart", on either side, is no failure; it is counted.
"""

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize as TokenNormalize
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import quantize_embeddings
from sklearn.feature_extraction.text import CountVectorizer
from usearch.index import Index

from helpers import benchmark, bundled, catalog, data, load, models, search
from helpers.measure import claims, metrics
from helpers.measure.metrics import Estimate
from helpers.models import bge_m3
from tools.build import ROOT

Floats = NDArray[Any]

SEARCH = data.docstrings("test", limit=200)
# What no other texts can repeat: it is about a clock, or about labels that only the course's sets have.
ALONE = {
    "01_sentence_transformers": {"look-alikes"},
    "02_bge": {"own-minilm", "own-pca", "own-static"},
    "03_bge_m3": {"tuned"},
    "04_e5": {"languages"},
    "06_nomic": {"late-answers", "sum"},
    "07_current_models": {"static-unrelated", "static-speed"},
    "08_choosing_a_model": {"multilingual-e5-small-q4-search", "tfidf-4096-search"},
    "10_encoding_fast": {"one-a-call", "packed", "packing-alone", "unpadded", "openvino-int8"},
    "15_best_practices": {"batch-short", "batch-mixed"},
    "16_search": {
        "sentences",
        "title-and-sentences",
        "late-chunking",
        "sentences-document-added",
        "late-chunking-document-added",
    },
    "17_index": {"filter", "crossing"},
}


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@cache
def model(name: str, tokens: int | None = None) -> SentenceTransformer:
    found = load(name, device="cpu")
    if not models.weights(found).real:
        pytest.skip(f"{name}: no real weights here")
    if tokens:
        found.max_seq_length = tokens
    return found


@cache
def encoded(name: str, side: str, prompt: str = "", tokens: int | None = 128) -> Floats:
    texts = list(getattr(SEARCH, side).values())
    return np.asarray(model(name, tokens).encode(texts, prompt=prompt, normalize_embeddings=True))


def ndcg(name: str = "all-MiniLM-L6-v2", query: str = "", document: str = "", tokens: int | None = 128) -> Floats:
    """nDCG@10 of each query with these prompts."""
    both = encoded(name, "queries", query, tokens), encoded(name, "corpus", document, tokens)
    return benchmark.ndcg(SEARCH, *both)


def less(one: Floats, other: Floats) -> Estimate:
    return metrics.estimate(metrics.mean, one - other)


def foreign(name: str, query: bool, document: bool) -> Estimate:
    """MiniLM with another model's prompts against bare text."""
    prompts = catalog.card(name).prompts
    return less(ndcg(query=prompts["query"] if query else "", document=prompts["document"] if document else ""), ndcg())


def pooled(mode: str) -> Estimate:
    mini = model("all-MiniLM-L6-v2", 128)
    three = SentenceTransformer(modules=[mini[0], Pooling(384, ("cls", "max", "mean"))], device="cpu")
    place = {"cls": slice(0, 384), "max": slice(384, 768), "mean": slice(768, 1152)}
    both = [three.encode(list(texts.values())) for texts in (SEARCH.queries, SEARCH.corpus)]
    each = {m: benchmark.ndcg(SEARCH, *(unit(v[:, place[m]]) for v in both)) for m in (mode, "mean")}
    return less(each[mode], each["mean"])


def shorter(kind: str) -> Estimate:
    """MiniLM's vectors cut, rotated or quantised, against the full ones."""
    q, d = encoded("all-MiniLM-L6-v2", "queries"), encoded("all-MiniLM-L6-v2", "corpus")

    def signs(v: Floats) -> Floats:
        return np.unpackbits(quantize_embeddings(v, "ubinary"), axis=1).astype(np.float32) * 2 - 1  # type: ignore[arg-type]

    if kind == "pca-128":
        q, d = (v @ bundled.pca(dims=384)[-2].linear.weight.detach().numpy().T for v in (q, d))
    if kind in ("pca-128", "slice-128"):
        q, d = q[:, :128], d[:, :128]
    if kind == "int8":
        ranges = np.stack([d.min(axis=0), d.max(axis=0)])
        d = (quantize_embeddings(d, "int8", ranges=ranges).astype(np.float32) + 128.5) * (ranges[1] - ranges[0]) / 255
        d = d + ranges[0]
    if kind == "bits":
        q, d = signs(q), signs(d)
    return less(benchmark.ndcg(SEARCH, unit(q).astype(np.float32), unit(d).astype(np.float32)), ndcg())


def place() -> Estimate:
    """An answer at the head of a long text, and 40 words on."""
    mini, corpus = model("all-MiniLM-L6-v2", 256), list(SEARCH.corpus.values())
    needle, ask = "The spare key to the cellar hangs behind the blue door.", "Where is the spare key?"
    words = [" ".join(corpus[i : i + 6]).split() for i in range(0, 120, 6)]
    head = mini.encode([" ".join([needle, *text]) for text in words])
    later = mini.encode([" ".join([*text[:40], needle, *text[40:]]) for text in words])
    query = mini.encode(ask)
    return less((head @ query).astype(float), (later @ query).astype(float))


def e5(query: str, document: str) -> Estimate:
    name = "multilingual-e5-small-q4"
    return less(ndcg(name, query, document, 48), ndcg(name, "query: ", "passage: ", 48))


def against_minilm(name: str, tokens: int | None = 128) -> Estimate:
    return less(ndcg(name, tokens=tokens), ndcg(tokens=tokens))


def bm25(k1: float = 1.2, b: float = 0.75) -> Floats:
    """As lesson 03 has it."""
    words = CountVectorizer(token_pattern=r"\w+").fit(SEARCH.corpus.values())
    counts = words.transform(SEARCH.corpus.values()).toarray()
    found = (counts > 0).sum(axis=0)
    rarity = np.log(1 + (len(counts) - found + 0.5) / (found + 0.5))
    long = counts.sum(axis=1, keepdims=True) / counts.sum(axis=1).mean()
    weights = rarity * counts * (k1 + 1) / (counts + k1 * (1 - b + b * long))
    return np.asarray(words.transform(SEARCH.queries.values()).toarray() @ weights.T)


@cache
def three_scores() -> dict[str, Floats]:
    """Dense, lexical and ColBERT scores by the stand-in of BGE-M3, and BM25."""
    m3 = bge_m3.load("stand-in", device="cpu", passage_max_length=128)
    kinds = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True, "batch_size": 8}
    q, d = (m3.encode(list(side.values()), **kinds) for side in (SEARCH.queries, SEARCH.corpus))
    maxima = [[(a @ b.T).max(axis=1).mean() for b in d["colbert_vecs"]] for a in q["colbert_vecs"]]
    lexical = m3.compute_lexical_matching_score(q["lexical_weights"], d["lexical_weights"])
    return {
        "dense": q["dense_vecs"] @ d["dense_vecs"].T,
        "lexical": lexical,
        "ColBERT": np.array(maxima),
        "BM25": bm25(),
    }


def three_kinds(kind: str) -> Estimate:
    scores = three_scores()
    rrf = sum(1 / (60 + rankdata(-scores[k], axis=1, method="ordinal")) for k in ("dense", "BM25"))
    one = {"lexical": scores["lexical"], "colbert": scores["ColBERT"], "rrf": rrf}
    one["default"] = scores["dense"] + scores["lexical"] + scores["ColBERT"]
    other = scores["BM25" if kind == "lexical" else "dense"]
    ids, queries = list(SEARCH.corpus), list(SEARCH.queries)
    each = [
        metrics.per_query(
            {q: dict(zip(ids, row, strict=True)) for q, row in zip(queries, matrix.tolist(), strict=True)}, SEARCH.qrels
        )["ndcg@10"]
        for matrix in (one[kind], other)
    ]
    return less(*each)


def scaled(scores: Floats) -> Floats:
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return np.asarray((scores - low) / (high - low))


def beside_dense(kind: str) -> Estimate:
    """BM25, or what is made of it and MiniLM, against MiniLM alone."""
    both = (encoded("all-MiniLM-L6-v2", side, tokens=256) for side in ("queries", "corpus"))
    dense = np.inner(*both).astype(float)
    ids, found = list(SEARCH.corpus), search.bm25(SEARCH, k=len(SEARCH.corpus))
    lexical = np.array([[found[query].get(d, 0.0) for d in ids] for query in SEARCH.queries])
    ranks = [rankdata(-scores, axis=1, method="ordinal") for scores in (dense, lexical)]
    made = {
        "floor": lexical,
        "equal-rrf": 1 / (60 + ranks[0]) + 1 / (60 + ranks[1]),
        "raw-sum": dense + lexical,
        "tuned": 0.8 * scaled(dense) + 0.2 * scaled(lexical),
    }
    runs = [
        {
            q: {d: float(v) for d, v in zip(ids, row, strict=True) if v}
            for q, row in zip(SEARCH.queries, scores, strict=True)
        }
        for scores in (made[kind], dense)
    ]
    return less(*(metrics.per_query(run, SEARCH.qrels)["ndcg@10"] for run in runs))


def maxsim() -> Estimate:
    mini = model("all-MiniLM-L6-v2", 256)
    late = MultiVectorEncoder(modules=[mini[0], TokenNormalize("token_embeddings"), MultiVectorMask()], device="cpu")
    both = late.encode_query(list(SEARCH.queries.values())), late.encode_document(list(SEARCH.corpus.values()))
    scores = late.similarity(*both).numpy()
    run = {
        q: dict(zip(SEARCH.corpus, row, strict=True)) for q, row in zip(SEARCH.queries, scores.tolist(), strict=True)
    }
    return less(metrics.per_query(run, SEARCH.qrels)["ndcg@10"], ndcg(tokens=256))


@cache
def sentences() -> tuple[Floats, Floats]:
    """The sentences of the course's pairs by the static model, and every tenth of them as a query for the others."""
    both = list(dict.fromkeys((*data.pairs().sentence1, *data.pairs().sentence2)))
    vectors = np.asarray(model("all-MiniLM-L6-v2-static-256").encode(both))
    asked = np.arange(len(both)) % 10 == 0
    return vectors[~asked], vectors[asked]


def of_index(kind: str) -> Estimate:
    """What one part of an index changes in recall@10."""
    among, asked = sentences()
    true = np.argsort(-(asked @ among.T), axis=1)[:, :10]

    def recall(found: Floats) -> Floats:
        return np.array([len({*a.tolist()} & {*b.tolist()}) / 10 for a, b in zip(found, true, strict=True)])

    def by_bits(middle: Floats, pool: int) -> Floats:
        apart = ((among > middle)[None] != (asked > middle)[:, None]).sum(axis=2)
        best = np.argsort(apart, axis=1, kind="stable")[:, :pool]
        return np.array([row[np.argsort(-(among[row] @ q))[:10]] for row, q in zip(best, asked, strict=True)])

    def by_graph(of: Floats) -> Floats:
        index = Index(ndim=256, metric="ip", dtype="f32", connectivity=16, expansion_add=128, expansion_search=64)
        index.add(np.arange(len(of)), of, threads=1)
        return recall(index.search(asked, 10, threads=1).keys.astype(int))

    low, width = among.min(axis=0), np.ptp(among, axis=0)
    coarse = (np.round((among - low) / width * 255) / 255 * width + low).astype(np.float32)
    lost = {"graph": lambda: by_graph(among) - 1, "int8": lambda: recall(np.argsort(-(asked @ coarse.T))[:, :10]) - 1}
    lost["together"] = lambda: by_graph(coarse) - 1 - (lost["graph"]() + lost["int8"]())
    if kind in lost:
        return metrics.estimate(metrics.mean, lost[kind]())
    centred = recall(by_bits(among.mean(axis=0), 400 if kind == "rescored" else 100))
    return less(centred, np.ones(len(asked)) if kind == "rescored" else recall(by_bits(0 * among[0], 100)))


@cache
def trained() -> dict[str, dict[str, Floats]]:
    """recall@10 by set: of the static model, of those trained on scipy and scikit-learn, and of BM25."""
    from datasets import Dataset

    from benchmarks.training import mined, static

    name = "all-MiniLM-L6-v2-static-256"
    pairs = {k: v for part in ("dev", "test") for k, v in data.docstrings(part).queries.items()}
    texts = {k: v for part in ("dev", "test") for k, v in data.docstrings(part).corpus.items()}
    made = Dataset.from_dict({"anchor": list(pairs.values()), "positive": list(texts.values())})
    sets = {"domain": data.docstrings("train", limit=400), "own": data.retrieval("codes")}

    def scored(of: SentenceTransformer) -> dict[str, Floats]:
        found = {}
        for where, s in sets.items():
            q, d = (np.asarray(of.encode(list(x.values()), normalize_embeddings=True)) for x in (s.queries, s.corpus))
            found[where] = metrics.per_query(benchmark.retrieve(s, q, d), s.qrels)["recall@10"]
        return found

    floor = {where: metrics.per_query(search.bm25(s), s.qrels)["recall@10"] for where, s in sets.items()}
    given = {"plain": made, "filtered": mined(made, True), "unfiltered": mined(made, False)}
    after = {kind: scored(static(0, rows)) for kind, rows in given.items()}
    return after | {"untrained": scored(load(name, device="cpu")), "BM25": floor}


def of_training(kind: str) -> Estimate:
    found, where = trained(), "own" if kind == "forgotten" else "domain"
    if kind in found:  # with mined negatives
        return less(found[kind][where], found["plain"][where])
    return less(found["plain"][where], found["BM25" if kind == "past-bm25" else "untrained"][where])


@cache
def mapping() -> Floats:
    """From the static model's space to MiniLM's, least squares over the sentences of the course's pairs."""
    both = list(dict.fromkeys((*data.pairs().sentence1, *data.pairs().sentence2)))
    old, new = (load(f"all-MiniLM-L6-v2{end}", device="cpu").encode(both) for end in ("-static-256", ""))
    return np.asarray(np.linalg.lstsq(np.asarray(old), np.asarray(new), rcond=None)[0])


def of_change(kind: str) -> Estimate:
    q, d = encoded("all-MiniLM-L6-v2", "queries"), encoded("all-MiniLM-L6-v2", "corpus")
    turn = bundled.pca(dims=384)[-2].linear.weight.detach().numpy().T
    if kind == "mixed":
        mixed = d.copy()
        mixed[::2] = mixed[::2] @ turn
        return less(benchmark.ndcg(SEARCH, q, mixed), ndcg())
    if kind == "half":
        return less(benchmark.ndcg(SEARCH, *(unit(v @ turn[:, :192]).astype(np.float32) for v in (q, d))), ndcg())
    static = "all-MiniLM-L6-v2-static-256"
    mapped = benchmark.ndcg(SEARCH, q, unit(encoded(static, "corpus", tokens=None) @ mapping()).astype(np.float32))
    return less(mapped, ndcg() if kind == "map" else ndcg(static, tokens=None))


INSTRUCTION = catalog.card("bge-small-en-v1.5").prompts["query"]
QWEN, NOMIC, BGE, E5 = "gte-Qwen2-1.5B-instruct", "nomic-embed-text-v1.5", "bge-base-en-v1.5", "e5-base-v2"
OF_TRAINING = ("gain", "forgotten", "past-bm25", "filtered", "unfiltered")
REPEATS: dict[str, dict[str, Callable[[], Estimate]]] = {
    "01_sentence_transformers": {"place": place, "mpnet": lambda: against_minilm("all-mpnet-base-v2", 32)},
    "02_bge": {
        "cls": lambda: pooled("cls"),
        "max": lambda: pooled("max"),
        "foreign-query": lambda: less(ndcg(query=INSTRUCTION), ndcg()),
        "foreign-documents": lambda: less(ndcg(document=INSTRUCTION), ndcg()),
        "foreign-both": lambda: less(ndcg(query=INSTRUCTION, document=INSTRUCTION), ndcg()),
    },
    "03_bge_m3": {kind: partial(three_kinds, kind) for kind in ("lexical", "colbert", "default", "rrf")},
    "04_e5": {
        "prefix-none": lambda: e5("", ""),
        "prefix-exchanged": lambda: e5("passage: ", "query: "),
        "prefix-query": lambda: e5("query: ", "query: "),
    },
    "05_gte": {
        "foreign-e5-queries": lambda: foreign(E5, True, False),
        "foreign-bge-queries": lambda: foreign(BGE, True, False),
        "foreign-nomic-queries": lambda: foreign(NOMIC, True, False),
        "foreign-nomic-documents": lambda: foreign(NOMIC, False, True),
        "foreign-nomic-both": lambda: foreign(NOMIC, True, True),
        "foreign-gte-qwen2-queries": lambda: foreign(QWEN, True, False),
    },
    "06_nomic": {kind: partial(shorter, kind) for kind in ("slice-128", "pca-128", "int8", "bits")},
    "07_current_models": {"static-search": lambda: against_minilm("all-MiniLM-L6-v2-static-256", None)},
    "08_choosing_a_model": {
        "all-mpnet-base-v2-search": lambda: against_minilm("all-mpnet-base-v2", 32),
        "all-MiniLM-L6-v2-static-256-search": lambda: against_minilm("all-MiniLM-L6-v2-static-256", None),
    },
    "10_encoding_fast": {
        "openvino-int8-search": lambda: against_minilm("all-MiniLM-L6-v2@openvino-int8"),
        "onnx-int8-search": lambda: against_minilm("all-MiniLM-L6-v2-int8"),
    },
    "15_best_practices": {
        "e5-prefix": lambda: e5("", ""),
        "e5-exchanged": lambda: e5("passage: ", "query: "),
        "foreign-e5": lambda: foreign(E5, True, False),
        "foreign-bge": lambda: foreign(BGE, True, False),
        "foreign-gte": lambda: foreign(QWEN, True, False),
    },
    "16_search": {kind: partial(beside_dense, kind) for kind in ("floor", "equal-rrf", "raw-sum", "tuned")}
    | {"maxsim": maxsim},
    "17_index": {kind: partial(of_index, kind) for kind in ("graph", "int8", "together", "rescored", "centred")},
    "19_changing_the_model": {kind: partial(of_change, kind) for kind in ("mixed", "map", "map-old", "half")},
    "18_your_own_model": {kind: partial(of_training, kind) for kind in OF_TRAINING},
}  # fmt: skip
SLOW = {
    "maxsim",
    *OF_TRAINING,
    "lexical",
    "colbert",
    "default",
    "rrf",
    "mpnet",
    "all-mpnet-base-v2-search",
    "openvino-int8-search",
    "onnx-int8-search",
}
CASES = [
    pytest.param(lesson, name, id=f"{lesson[:2]}-{name}", marks=[pytest.mark.execution] if name in SLOW else [])
    for lesson, repeats in REPEATS.items()
    for name in repeats
]


def kept(lesson: str) -> dict[str, claims.Claim]:
    return claims.kept(ROOT / "notebooks" / f"{lesson}.ipynb")


@pytest.mark.parametrize(("lesson", "name"), CASES)
def test_no_verdict_of_a_lesson_is_turned_round_on_other_texts(
    lesson: str, name: str, record_property: Callable[[str, object], None]
) -> None:
    claim, elsewhere = kept(lesson)[name], REPEATS[lesson][name]()
    record_property("claim", f"{lesson[:2]} {name}: {claim.verdict}; here {elsewhere}")
    assert not claim.opposite(elsewhere), f"{claim} But on scikit-learn's docstrings: {elsewhere}."


def test_every_claim_is_tried_again_or_known_to_stand_alone() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        lesson = path.stem
        known = REPEATS.get(lesson, {}).keys() | ALONE.get(lesson, set())
        assert claims.kept(path).keys() <= known, lesson


def test_a_built_notebook_says_what_its_claims_say() -> None:
    def words(sentence: str) -> list[str]:
        return sorted(word.strip(".,;:()[]") for word in sentence.split())  # a notebook file sorts the tries by name

    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        bundles = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        said = {row["name"]: row["sentence"] for bundle in bundles for row in bundle.get(claims.MIME, [])}
        for name, claim in claims.kept(path).items():
            assert words(said[name]) == words(str(claim)), f"{path.name}: {name}"


def test_lessons_that_measure_conclude_by_claims() -> None:
    for lesson in REPEATS:
        assert len(kept(lesson)) >= 2, lesson
