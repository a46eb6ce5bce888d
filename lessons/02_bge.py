# %% [markdown]
# # 02 · BGE
#
# After this lesson you can
# - **pool** as a model was trained, and read from a loaded model which pooling it uses,
# - **place** the query instruction on the right side, and get the same vectors from two libraries,
# - **decide** by order or by a threshold of your own, never by a borrowed one, and choose a size.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# BGE is the embedding family of the Beijing Academy of Artificial Intelligence (BAAI). Its English models are
# plain BERT encoders, the smallest at home on a CPU. What goes wrong with them goes wrong with other families
# too: the wrong pooling, a misplaced instruction, somebody else's threshold. Outside this course you would
# install both libraries with `pip install sentence-transformers FlagEmbedding`.

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, hub or stand-in

# %%
import numpy as np
import pandas as pd
import torch
from FlagEmbedding import FlagAutoModel, FlagModel
from IPython.display import display
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sentence_transformers.sentence_transformer.modules import Pooling
from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from helpers import bundled, catalog, data, load, models
from helpers.measure import environment, metrics
from helpers.models import twins

minilm, versions = load("all-MiniLM-L6-v2"), environment.versions()
libraries = (f"{name} {versions[name]}" for name in ("sentence-transformers", "FlagEmbedding"))
print(f"device {minilm.device}", *libraries, sep=", ")

# %% [markdown]
# ## The family
#
# Four models, from the course's catalogue. `tokens` is where a text is cut. bge-m3 is another kind of model
# (many languages, long texts, three sorts of vectors), and lesson 03 is about it alone.

# %%
names = ["bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5", "bge-m3"]
family = [catalog.card(name) for name in names]
pd.DataFrame(
    {
        "model": [c.hub_id for c in family],
        "dimensions": [c.dims for c in family],
        "tokens": [c.max_tokens for c in family],
        "parameters (M)": [f"{c.params_total / 1e6:.0f}" if c.params_total else "unknown" for c in family],
        "pooling": [c.pooling or "unknown" for c in family],
        "query instruction": ["yes" if c.prompts["query"] else "none" for c in family],
        "licence": [c.license or "unknown" for c in family],
    }
)

# %% [markdown]
# MTEB is the field's collection of tasks (search, classification, similar pairs and more), and a score is a mean
# over tasks. It comes in three versions with different tasks, so there are three tables, and a number from one
# must not be held against a number from another. `published` is what the authors report, `computed` the mean of
# mteb's public results. (One task of the multilingual version is missing for all four, and their means leave it
# out. Where many are missing there is no mean.)


# %%
def known(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.2f}"


def scores(benchmark: str, published: str, computed: str, tasks: str) -> pd.DataFrame:
    """The family's scores on one benchmark; the last three arguments name fields of the catalogue."""
    rows = [(known(getattr(c, published)), known(getattr(c, computed)), getattr(c, tasks)) for c in family]
    return pd.DataFrame(rows, index=names, columns=["published", "computed", "tasks run"]).rename_axis(benchmark)


display(scores("MTEB(eng, v1), 56 tasks", "eng_v1_published", "eng_v1_computed", "eng_v1_n_of_56"))
display(scores("MTEB(eng, v2), 41 tasks", "eng_v2_published", "eng_v2_computed_mean_task", "eng_v2_n_of_41"))
multilingual = "multilingual_v2_published", "multilingual_v2_computed_mean_task", "multilingual_v2_n_of_131"
display(scores("MTEB(Multilingual, v2), 131 tasks", *multilingual))

# %%
small, base, large, m3 = family
for less, more in ((small, base), (base, large)):
    points = more.eng_v2_computed_mean_task - less.eng_v2_computed_mean_task
    print(f"{less.name} to {more.name}: {points:+.2f} points on MTEB(eng, v2),", end=" ")
    print(f"for {more.params_total / less.params_total:.1f} times the parameters")
print(f"{m3.name} has run {m3.eng_v2_n_of_41} of its 41 tasks: no mean, so no place among the others there")

# %% [markdown]
# This is how to load one without the course. The revision pins the weights; the prompts are part of the call,
# because an older folder may not bring its own (`print(model.prompts)` tells).

# %%
print(models.code("BAAI/bge-small-en-v1.5"))

# %% [markdown]
# With the course, `load` does the same where the hub can be reached. Elsewhere it gives a stand-in: MiniLM behind
# BGE's prompts and shapes. A stand-in shows how the calls work and says nothing of BGE's quality, so every
# quality in this lesson is measured on MiniLM and its derivatives, which are real, and on BGE only if its real
# weights were loaded.

# %%
bge = load("BAAI/bge-small-en-v1.5", source=source)
queries = ["how long can I return shoes", "is the ring road closed on Sunday"]
documents = ["Shoes may be sent back within thirty days.", "The ring road is closed every first Sunday."]
query_vectors, document_vectors = bge.encode_query(queries), bge.encode_document(documents)
print(f"queries {query_vectors.shape}, lengths {np.linalg.norm(query_vectors, axis=1).round(3)}")
print(f"similarity {tuple(bge.similarity(query_vectors, document_vectors).shape)}")
print(f"quality is measured on this model: {'yes' if models.weights(bge).real else 'no, it is a stand-in'}")

# %% [markdown]
# ## CLS pooling
#
# BERT puts a token `[CLS]` before every text. BGE was trained with the vector of that first token as the vector
# of the text; MiniLM was trained with the mean of all tokens. In code the difference is one line, here by hand on
# MiniLM's encoder, then with the library's `Pooling`.

# %%
features = util.batch_to_device(minilm.preprocess(documents), minilm.device)
with torch.inference_mode():
    tokens = minilm[0](features)
    by_hand = tokens["token_embeddings"][:, 0]
    library = Pooling(384, pooling_mode="cls")(dict(tokens))["sentence_embedding"]
assert torch.allclose(by_hand, library)
print(f"token embeddings {tuple(tokens['token_embeddings'].shape)} -> one vector a text {tuple(by_hand.shape)}")

# %% [markdown]
# Nothing in the result tells which pooling made it: the shape is the same. The model tells. A loaded model is a
# list of modules, and one of them is its `Pooling`. The third model below is a twin: BGE's architecture, built
# from the catalogue, with random weights.


# %%
def pooling_of(model: SentenceTransformer) -> str:
    return next(module.pooling_mode for module in model if isinstance(module, Pooling))


for model in (minilm, bge, load("BAAI/bge-small-en-v1.5", source="twin")):
    print(f"{pooling_of(model):4} is the pooling of: {models.weights(model)}")
print(f"{small.pooling:4} is what the catalogue says of {small.name}")
if pooling_of(bge) != small.pooling:
    print("the second differs from the catalogue: it is MiniLM behind BGE's shape, and pools as MiniLM does")

# %% [markdown]
# What does the wrong pooling cost? We need texts to search. From the course's passages the next cell takes each
# one that answers a query and every third of the others; that saves time, and makes the search a little easier
# than in other lessons. The score is nDCG@10: from 0 to 1, high if the right documents stand at the top of the
# ten best.

# %%
search = data.retrieval()
answers = {document for judged in search.qrels.values() for document in judged}
others = [document for document in search.corpus if document not in answers]
kept = [*sorted(answers), *others[::3]]
asked, corpus = list(search.queries.values()), [search.corpus[document] for document in kept]
print(f"{len(asked)} queries, {len(corpus)} of {len(search.corpus)} passages")


def ndcg(query_vectors: np.ndarray, document_vectors: np.ndarray) -> np.ndarray:
    """nDCG@10 of each query, documents ranked by cosine."""
    cosines = util.cos_sim(query_vectors, document_vectors).tolist()
    run = {query: dict(zip(kept, row, strict=True)) for query, row in zip(search.queries, cosines, strict=True)}
    return metrics.per_query(run, search.qrels)["ndcg@10"]


# %% [markdown]
# **Decide, then run:** MiniLM was trained with the mean. How far does its nDCG@10 fall if you pool it like BGE, or
# take the maximum? `Pooling` accepts several modes and puts their vectors side by side, so one pass is enough.

# %%
three = SentenceTransformer(modules=[minilm[0], Pooling(384, ("cls", "max", "mean"))], device=str(minilm.device))
of_queries, of_documents = three.encode(asked), three.encode(corpus)
parts = {"cls": slice(0, 384), "max": slice(384, 768), "mean": slice(768, 1152)}
pooled = {mode: ndcg(of_queries[:, part], of_documents[:, part]) for mode, part in parts.items()}
same_as_encode = util.pairwise_cos_sim(of_queries[:8, parts["mean"]], minilm.encode(asked[:8]))
assert same_as_encode.min() > 1 - 1e-5, "the last third is what MiniLM's own pooling gives"

# %% [markdown]
# A mean over queries hangs on which queries were asked. So each comes with its *bootstrap interval*: draw as many
# queries from ours, with repetition, again and again, and note between which two values nearly all the means lie.
# Two ways of pooling are compared query by query: the mean of the differences, with an interval of its own. Only
# if that interval leaves out 0 does the table say "better" or "worse".


# %%
def verdict(difference: metrics.Estimate) -> str:
    return "worse" if difference.high < 0 else "better" if difference.low > 0 else "not told apart"


def compare(ways: dict[str, np.ndarray], trained: str) -> pd.DataFrame:
    """The mean nDCG@10 of each way, and its difference from the way the model was trained."""
    table = pd.DataFrame(index=list(ways), columns=["nDCG@10", f"change from {trained}", "verdict"], dtype=object)
    for way, values in ways.items():
        difference = metrics.estimate(metrics.mean, values - ways[trained])
        table.loc[way] = [str(metrics.estimate(metrics.mean, values)), str(difference), verdict(difference)]
    table.loc[trained, table.columns[1:]] = ["-", "as trained"]
    return table


by_pooling = compare(pooled, "mean")
by_pooling

# %%
wrong = by_pooling.index[by_pooling["verdict"] == "worse"]
print(f"worse than the mean, beyond the interval: {', '.join(wrong) or 'neither cls nor max'}")
print(f"no error was raised: in all three ways a vector has {of_queries.shape[1] // len(parts)} dimensions")

# %% [markdown]
# The same weights, the same texts, no warning. For BGE it is the mean that is wrong, and its authors warn of a
# large loss. So never copy a pooling from one model's example to another model: load the whole folder and let
# its modules decide.
#
# ## The query instruction
#
# The English `v1.5` models have a sentence that goes before a query, and nothing before a document. You need not
# glue it yourself: it is one of the model's `prompts`, and `encode_query` applies it. **Decide, then run:**
# which of the three calls below give the vectors of `encode_query`?

# %%
instruction = small.prompts["query"]
calls = {
    "encode, prompt_name": bge.encode(queries, prompt_name="query"),
    "glued by hand": bge.encode([instruction + query for query in queries]),
    "plain encode": bge.encode(queries),
}
print(bge.prompts)
for name, vectors in calls.items():
    print(f"{name:20} lowest cosine with encode_query {util.pairwise_cos_sim(vectors, query_vectors).min():.4f}")
assert np.allclose(calls["encode, prompt_name"], query_vectors, atol=1e-5)
assert np.allclose(calls["glued by hand"], query_vectors, atol=1e-5)

# %% [markdown]
# The first two do. The last one forgot the instruction, and nothing warned. (How far it is off says nothing
# of BGE where a stand-in computed it.) The instruction also takes its place in the token budget:

# %%
taken = len(bge.tokenizer(instruction)["input_ids"]) - 2  # [CLS] and [SEP] are there anyway
print(f"{taken} tokens of {small.max_tokens} go to the instruction in every query; documents keep all of theirs")
assert np.allclose(bge.encode_document(documents), bge.encode(documents), atol=1e-5), "documents get no instruction"

# %% [markdown]
# ### The wrong side
#
# What if it lands on the documents, or on both sides? On BGE that is a question for real weights. MiniLM is real
# but never saw this instruction, so it can show something else: what a *foreign* instruction does to a model
# that was trained without one. **Decide, then run:** query only, documents only, or both: which is worst?

# %%
plain_queries, plain_documents = of_queries[:, parts["mean"]], of_documents[:, parts["mean"]]
led_queries, led_documents = (minilm.encode(texts, prompt=instruction) for texts in (asked, corpus))
sides = {
    "neither": ndcg(plain_queries, plain_documents),
    "query only": ndcg(led_queries, plain_documents),
    "documents only": ndcg(plain_queries, led_documents),
    "both": ndcg(led_queries, led_documents),
}
by_side = compare(sides, "neither")
by_side

# %%
for side, row in by_side.drop("neither").iterrows():
    print(f"instruction on {side}: {row.iloc[1]}, {row['verdict']}")

# %% [markdown]
# "Not told apart" means that these queries can't say whether it helped or harmed; they do not show that it makes
# no difference. What else the instruction does can be looked at directly: the same words stand before every text,
# so do all the vectors move towards one place? Below, the mean cosine between *different* texts.


# %%
def crowding(vectors: np.ndarray) -> float:
    return util.cos_sim(vectors, vectors)[np.triu_indices(len(vectors), 1)].mean().item()


crowd = pd.DataFrame(
    {
        "without instruction": [crowding(plain_queries), crowding(plain_documents)],
        "with instruction": [crowding(led_queries), crowding(led_documents)],
    },
    index=["queries", "documents"],
)
crowd.round(3)

# %% [markdown]
# The shorter a text, the larger the share of the instruction in what is averaged: compare the two rows. Remember
# this table when we come to thresholds, for a prompt alone can move every cosine.
#
# Now the family itself, if it is here. Its authors say that `v1.5` loses little without the instruction,
# recommend it for short queries against long passages, and advise to decide on your own data. This cell does so:

# %%
if models.weights(bge).real:
    with_it, without = bge.encode_query(asked), bge.encode(asked)
    as_trained, led = bge.encode_document(corpus), bge.encode(corpus, prompt=instruction)
    sides = {
        "query only": ndcg(with_it, as_trained),
        "neither": ndcg(without, as_trained),
        "documents only": ndcg(without, led),
        "both": ndcg(with_it, led),
    }
    display(compare(sides, "query only"))
else:
    print(f"not measured: {models.weights(bge)}")

# %% [markdown]
# ## The same through FlagEmbedding
#
# BAAI's own library is FlagEmbedding. The call for the same model, written from the catalogue:

# %%
flag_code = """from FlagEmbedding import FlagModel
from huggingface_hub import snapshot_download

folder = snapshot_download("{card.hub_id}", revision="{card.revision}")
model = FlagModel(
    folder,
    pooling_method="{card.pooling}",
    query_instruction_for_retrieval="{card.prompts[query]}",
    use_fp16=False,
)
query_vectors = model.encode_queries(queries)
document_vectors = model.encode_corpus(documents)"""
print(flag_code.format(card=small))

# %% [markdown]
# `FlagModel` has no parameter for the revision, so the folder is downloaded at its revision first. Offline the
# same class reads MiniLM's folder, which lets us hold the two libraries against each other on real weights.

# %%
folder = str(bundled.minilm_folder())
options = {"use_fp16": False, "devices": str(minilm.device), "batch_size": 32}
with bundled.quiet():
    flag = FlagModel(folder, pooling_method="mean", query_instruction_for_retrieval=instruction, **options)
differences = {
    "encode_queries": flag.encode_queries(asked[:8]) - minilm.encode(asked[:8], prompt=instruction),
    "encode_corpus": flag.encode_corpus(documents) - minilm.encode_document(documents),
}
for call, difference in differences.items():
    assert np.abs(difference).max() < 1e-5
    print(f"{call}: largest difference of any coordinate, in fp32, {np.abs(difference).max():.1e}")

# %% [markdown]
# Equal up to rounding, because the call said everything. Two things it would not have told us. `FlagModel` does
# not read which pooling a folder asks for, and takes CLS unless told. And a misspelt parameter is accepted in
# silence: below, `pooling_mode` should be `pooling_method`.

# %%
with bundled.quiet():
    careless = FlagModel(folder, pooling_mode="mean", revision="no such revision", **options)
off = util.pairwise_cos_sim(careless.encode(documents), minilm.encode(documents))
print(f"it pools by {careless.pooling_method}; cosine with the right vectors {off.min():.3f} to {off.max():.3f}")
try:
    FlagAutoModel.from_finetuned(folder)
except ValueError as error:
    print(f"FlagAutoModel: {str(error).split('.')[0]}")

# %% [markdown]
# `FlagAutoModel` looks up a model's class and pooling by the last part of its name, so it wants the hub's name,
# or a folder of that name, or `model_class` and `pooling_method` from you.
#
# ### Where the two libraries differ
#
# The same weights, one setting at a time. For the two libraries' vectors of the same texts the tables give the
# lowest cosine (1 means the same direction) and the largest difference of any coordinate. First what agrees.


# %%
def hold(cases: dict[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Two libraries' vectors of the same texts, held against each other."""
    rows = [(f"{util.pairwise_cos_sim(a, b).min():.4f}", f"{np.abs(a - b).max():.0e}") for a, b in cases.values()]
    return pd.DataFrame(rows, index=list(cases), columns=["lowest cosine", "largest difference"])


some, long = asked[:8], " ".join(data.texts()[:10])
spaced = ["  a  text\nwith line breaks\r\nand\ttabs  ", "a text with line breaks and tabs"]
hold(
    {
        "line breaks, tabs, spaces": (flag.encode(spaced), minilm.encode(spaced)),
        "a long text, both cut at 256 tokens": (flag.encode([long], max_length=256), minilm.encode([long])),
        "the instruction without its last space": (
            flag.encode(some, instruction=instruction.strip(), instruction_format="{}{}"),
            minilm.encode(some, prompt=instruction),
        ),
    }
)

# %% [markdown]
# Neither library touches the text, and for BERT's tokenizer every white space is just a gap between words, as
# is the colon that ends the instruction; other tokenizers keep spaces. **Decide, then run:** of the five below,
# which does the least harm, and which the most?

# %%
with bundled.quiet():
    half = FlagModel(folder, pooling_method="mean", devices=options["devices"], batch_size=32)
one_off = {
    "use_fp16 left on, its default": (half.encode(some), minilm.encode(some)),
    "prefix 'query' glued without a space": (
        flag.encode(some, instruction="query", instruction_format="{}{}"),
        minilm.encode(some, prompt="query "),
    ),
    "encode for encode_queries: no instruction": (flag.encode(some), minilm.encode(some, prompt=instruction)),
    "a long text, each library's own limit": (flag.encode([long]), minilm.encode([long])),
    "pooling_method left out": (careless.encode(some), minilm.encode(some)),
}
table = hold(one_off)
order = table["lowest cosine"].astype(float)
print(f"least harm: {order.idxmax()}\nmost harm: {order.idxmin()}")
table

# %% [markdown]
# On a CPU, FlagEmbedding computes in fp32 even with `use_fp16`, but with weights that were rounded to 16 bits: no
# faster, only less exact. The limits deserve a closer look, for the same text is cut at four lengths:

# %%
tokenizer = AutoTokenizer.from_pretrained(folder)
cut = {
    "transformers, tokenizer(text)": len(tokenizer(long, verbose=False)["input_ids"]),
    "transformers, truncation=True": len(tokenizer(long, truncation=True)["input_ids"]),
    "FlagEmbedding, default": flag.passage_max_length,
    "Sentence Transformers": minilm.preprocess([long])["input_ids"].shape[1],
    "tokenizers, tokenizer.json alone": len(Tokenizer.from_file(f"{folder}/tokenizer.json").encode(long).ids),
}
pd.Series(cut, name="tokens kept of one text")

# %% [markdown]
# MiniLM's folder asks for 256; only Sentence Transformers reads the file that says so. The first line cuts
# nothing at all, and the encoder then fails on a text with more tokens than it has positions. For BGE set
# `query_max_length` and `passage_max_length` to the model's own limit, which is FlagEmbedding's default anyway.
# Two more defaults of FlagEmbedding to know in production: a batch is 256 texts, and without `devices` it takes
# every GPU it finds, one process each.
#
# ## Similarity has no absolute scale
#
# The first BGE models kept nearly all their cosines between about `0.6` and 1: even unrelated texts lay high. The
# authors name the cause, contrastive training at a very low temperature (lesson 04 shows it), and their cards say
# that `v1.5` has a more reasonable distribution. A high, narrow band looks alarming. So let us squeeze MiniLM's
# cosines into such a band, by putting one constant number more into every vector, and look at two measures on the
# course's pairs. *Gap* is the mean cosine of similar pairs less that of the others. *ROC-AUC* is the chance that
# a similar pair lies above one that isn't. **Decide, then run:** which of the two will suffer?

# %%
pairs = data.pairs()
same = pairs.gold == 1
first, second = three.encode(list(pairs.sentence1)), three.encode(list(pairs.sentence2))
one, two = (util.normalize_embeddings(torch.tensor(side[:, parts["mean"]])).numpy() for side in (first, second))
cosine = util.pairwise_cos_sim(one, two).numpy()
constant = np.full((len(pairs), 1), np.sqrt(2), dtype=np.float32)
squeezed = util.pairwise_cos_sim(np.hstack([one, constant]), np.hstack([two, constant])).numpy()
assert np.allclose(squeezed, (cosine + 2) / 3, atol=1e-5)
for name, values in {"as it is": cosine, "squeezed": squeezed}.items():
    found = metrics.pair_scores(values, pairs.gold, graded=False)
    print(f"{name}: {values.min():.2f} to {values.max():.2f}, gap {found['separation']}, ROC-AUC {found['roc_auc']}")

# %% [markdown]
# The gap shrank and the order stayed, so ROC-AUC is what it was. A narrow band is no flaw for search, which only
# needs the order. It breaks whatever compares a cosine with a number.
#
# ### A borrowed threshold
#
# "Same meaning if the cosine is at least `t`": which `t`? Take the one with the most right answers on half of the
# course's pairs, and judge it on the other half. The next cell finds it by trying every cosine there is, then
# with the library. (Most right answers, or accuracy, will do where about half of the pairs are similar. Where
# they are rare it rewards a `t` that never says yes; use F1 there, as the exercise does.)

# %%
tune, test = train_test_split(np.arange(len(pairs)), test_size=0.5, random_state=0, stratify=pairs.kind)


def calibrate(cosine: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most right answers: at or above it means the same."""
    candidates = np.unique(cosine)
    right = ((cosine >= candidates[:, None]) == same).mean(axis=1)
    return float(candidates[right.argmax()])


threshold = calibrate(cosine[tune], same[tune])
best, other = BinaryClassificationEvaluator.find_best_acc_and_threshold(cosine[tune], same[tune], True)
right = (cosine >= threshold) == same
assert np.isclose(right[tune].mean(), best)
print(f"threshold {threshold:.3f} by hand, {other:.3f} by the library, which takes the middle of a gap")

# %%
hard = np.isin(pairs.kind, ["same_words", "negation", "swapped_roles", "numbers_changed"])
print(f"right on the half it was calibrated on: {right[tune].mean():.3f}")
print(f"right on the other half: {metrics.estimate(metrics.mean, right[test].astype(float))}")
print(f"there, among the hard negatives: {right[test][hard[test]].mean():.2f}", end=", ")
print(f"among all others: {right[test][~hard[test]].mean():.2f}")

# %% [markdown]
# The hard negatives of lesson 01 share most words with their pair, and keep every threshold from going far. Now
# the same threshold in other hands, all with real weights: MiniLM's vectors cut to their 32 widest directions
# (PCA), MiniLM pooled by CLS, a static model, one that only counts words (TF-IDF), and BGE if it is here.
# **Decide, then run:** which of them will the threshold suit?

# %%
cosines = {"MiniLM": cosine}
directions = bundled.pca(dims=32)[3].linear.weight.detach().numpy().T
cosines["PCA to 32"] = util.pairwise_cos_sim(one @ directions, two @ directions).numpy()
cosines["MiniLM by CLS"] = util.pairwise_cos_sim(first[:, parts["cls"]], second[:, parts["cls"]]).numpy()
whole = {"static-256": load("all-MiniLM-L6-v2-static-256"), "tfidf-4096": load("tfidf-4096")}
if models.weights(bge).real:
    whole[small.name] = bge
for name, model in whole.items():
    vectors = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
    cosines[name] = util.pairwise_cos_sim(*vectors).numpy()

# %% [markdown]
# Each model decides twice: by MiniLM's threshold, `borrowed`, and by its `own`, calibrated on the same first half.
# The shares of right answers, and the gain with its interval, are from the other half.

# %%
rows, gains = {}, {}
for name, values in cosines.items():
    borrowed = ((values >= threshold) == same)[test].astype(float)
    own = ((values >= calibrate(values[tune], same[tune])) == same)[test].astype(float)
    gains[name] = metrics.estimate(metrics.mean, own - borrowed)
    says_yes = (values[test] >= threshold).mean()
    rows[name] = [f"{share:.3f}" for share in (says_yes, borrowed.mean(), own.mean())]
outcome = pd.DataFrame(rows, index=["says yes to", "borrowed", "own"]).T
outcome["gain"] = [str(gain) for gain in gains.values()]
outcome

# %%
order = {
    name: metrics.estimate(metrics.roc_auc, values[test][same[test]], values[test][~same[test]])
    for name, values in cosines.items()
}
helped = [name for name, gain in gains.items() if verdict(gain) == "better"]
print(f"its own threshold beats the borrowed one, beyond the interval: {', '.join(helped) or 'nowhere'}")
for name, found in order.items():
    print(f"{name}: ROC-AUC {found}" + (", not shown to beat chance" if found.low <= 0.5 else ""))

# %% [markdown]
# A close relative may get away with a borrowed threshold; a model with another band may not. And a threshold of
# its own is no help to a model that orders the pairs badly: for one that only counts words, a hard negative has
# the same words, and a reworded pair hardly any in common. The figure shows the bands. A bar holds the middle half
# of the cosines, its whiskers reach from the 5th to the 95th percentile, the black line is the median.

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
meanings = {"same meaning": (same, "#56b4e9", -0.17), "another meaning": (~same, "#e69f00", 0.17)}
for label, (chosen, colour, shift) in meanings.items():
    axes.boxplot(
        [values[chosen] for values in cosines.values()], positions=np.arange(len(cosines)) + shift,
        orientation="horizontal", widths=0.3, whis=(5, 95), showfliers=False, manage_ticks=False, label=label,
        patch_artist=True, boxprops={"facecolor": colour}, medianprops={"color": "black", "linewidth": 2},
    )  # fmt: skip
axes.axvline(threshold, color="black", linestyle="--", label="MiniLM's threshold")
axes.set_yticks(range(len(cosines)), list(cosines))
axes.invert_yaxis()
axes.set_xlabel("cosine of a pair")
figure.legend(loc="outside upper center", ncols=3)
plt.show()

# %%
shown = {
    (name, label): np.quantile(values[chosen], [0.05, 0.5, 0.95]).round(2)
    for name, values in cosines.items()
    for label, (chosen, _, _) in meanings.items()
}
pd.DataFrame(shown, index=["5th percentile", "median", "95th percentile"]).T

# %% [markdown]
# A calibrated threshold is itself an estimate, and the intervals above hold it fixed. Calibrate again on
# resamples of the first half, to see how much of it is chance:

# %%
draw = np.random.default_rng(0)
resamples = [draw.choice(tune, len(tune)) for _ in range(300)]
low, high = np.quantile([calibrate(cosine[drawn], same[drawn]) for drawn in resamples], [0.025, 0.975])
print(f"{len(tune)} labelled pairs give {threshold:.3f}; calibrated on resamples of them: {low:.3f} to {high:.3f}")

# %% [markdown]
# So: for search and reranking use the order alone. Where a yes or no is needed (duplicates, a cache, an alarm),
# label a few hundred pairs of your own, hard ones among them, calibrate on them, and do it again whenever the
# model, its prompt or the kind of text changes.
#
# ## Which size?
#
# Speed and memory of the family come from twins: the same architecture with random weights, which computes as
# long as the trained one. They were measured once by `benchmarks/twins.py`. The last column is what a million
# vectors take in an index of fp32 numbers.

# %%
twin = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id")
twin = twin.loc[[c.hub_id for c in family]].set_axis(names)
machine = twin.iloc[0]
print(f"{machine['hardware']}, {machine['threads']} thread, fp32, texts of {machine['tokens']} tokens")
pd.DataFrame(
    {
        "MTEB(eng, v2)": [known(c.eng_v2_computed_mean_task) for c in family],
        "parameters (M)": (twin["parameters"] / 1e6).round().astype(int),
        "peak memory (MB)": twin["peak_mb"].round().astype("Int64"),
        "tokens/s": twin["tokens_per_s"].round().astype(int),
        "1M vectors (GB)": [round(c.dims * 4 * 1e6 / 1e9, 1) for c in family],
    }
)

# %%
for name, speed in twin["tokens_per_s"].items():
    hours = 1_000_000 * machine["tokens"] / speed / 3600
    print(f"{name}: {machine['tokens_per_s'] / speed:.1f} times small's time;", end=" ")
    print(f"a million such texts take {hours:.0f} hours on one thread")

# %% [markdown]
# Read this as a rule of thumb, then let your own data decide (lesson 14):
#
# - **small** first: the table says what the next size adds in points, the prints what it costs in time.
# - **base** if on your own queries its gain over small lies outside the interval, and twice the index is no matter.
# - **large** with a GPU, or for a corpus encoded once; but every query waits for it as well.
# - **bge-m3** for other languages, long texts, or exact words beside meaning: lesson 03.
#
# All three English models are of 2023. Lesson 07 holds the current generation against them.
#
# ## Recap
#
# - **Pool**: the `Pooling` module says how. Another pooling than that of the training raises no error, and you
#   saw what it cost MiniLM. FlagEmbedding doesn't read it from the folder, so pass `pooling_method`.
# - **Place**: the instruction goes before queries only, by `prompts` and `encode_query`, or by
#   `query_instruction_for_retrieval` and `encode_queries`. In fp32, with pooling, length and prompt the same, both
#   libraries give the same vectors.
# - **Decide**: cosines order, they don't measure. Use the order, or a threshold calibrated for this model, prompt and
#   text. Start with small, and pay for more only where your data shows the gain.
#
# Test yourself: Two libraries give different vectors for the same weights; which four settings do you compare
# first? A colleague adds the instruction to the documents "to be symmetrical"; what do you tell them? Why can a
# model with all its cosines above `0.6` be the better one for search?
#
# Now the exercise: [pooling, instruction, threshold](../exercises/02_bge/02_bge.ipynb)
#
# Sources: Xiao et al. 2023, *C-Pack* ([arXiv](https://arxiv.org/abs/2309.07597)); the authors'
# [notes on pooling, similarity and instruction](https://github.com/FlagOpen/FlagEmbedding/tree/master/research/baai_general_embedding);
# the models' [cards](https://huggingface.co/BAAI/bge-small-en-v1.5); the installed sources of both libraries;
# `helpers/facts/models.csv` with a source for each figure.
