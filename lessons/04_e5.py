# %% [markdown]
# # 04 · E5
#
# After this lesson you can
# - **use** E5's two prefixes by role, and measure what a missing one does,
# - **explain** what a low temperature does to cosines, and decide by rank instead of by level,
# - **judge** what multilingual-e5 and e5-mistral read, weigh and need.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, package, hub or stand-in

# %%
import numpy as np
import pandas as pd
import sentence_transformers
import torch
from matplotlib import pyplot as plt
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import MistralConfig, MistralModel, XLMRobertaConfig, XLMRobertaModel

from helpers import benchmark, catalog, data, load, models
from helpers.measure import metrics
from helpers.models import adapters, twins

rounded = source in ("auto", "package")  # the 4-bit weights of a package; the hub has the original
e5_name = "multilingual-e5-small-q4" if rounded else "multilingual-e5-small"
e5 = load(e5_name, source=source)
minilm = load("all-MiniLM-L6-v2")
version = sentence_transformers.__version__
print(f"device {e5.device}, sentence-transformers {version}, {models.weights(e5).kind} weights")

# %% [markdown]
# ## The family
#
# E5 stands for *embeddings from bidirectional encoder representations*. Its first models learned from pairs of
# texts that belong together on the web (a question and its answer, a title and its page), then from fewer pairs
# with labels. The scores below are means over the tasks of a benchmark, computed from public result files. Each
# benchmark has other tasks, so read a column down and never a row across.

# %%
names = [c.hub_id for c in catalog.cards() if c.hub_id.startswith("intfloat/")]
cards = [catalog.card(name) for name in names]
family = pd.DataFrame(
    {
        "model": [c.name for c in cards],
        "parameters (M)": [round(c.params_total / 1e6) for c in cards],
        "dims": [c.dims for c in cards],
        "languages": [c.languages_mteb for c in cards],
        "MTEB(eng, v1)": [c.eng_v1_computed if c.eng_v1_n_of_56 == 56 else np.nan for c in cards],
        "MTEB(eng, v2)": [c.eng_v2_computed_mean_task if c.eng_v2_n_of_41 == 41 else np.nan for c in cards],
        "MTEB(Multilingual, v2)": [c.multilingual_v2_computed_mean_task for c in cards],
        "of 131 tasks": [c.multilingual_v2_n_of_131 for c in cards],
    }
)
family.style.hide(axis="index").format(precision=2, na_rep="unknown")

# %% [markdown]
# Unknown means that results of some tasks are missing, so that their mean would be over other tasks. Without
# this course you load one of the family as printed below. The prompts are part of the call, so that nobody has
# to remember them.

# %%
print(models.code("intfloat/multilingual-e5-small"))

# %% [markdown]
# This lesson measures on multilingual-e5-small itself. Where the hub is out of reach its weights come from a package,
# rounded to 4 bits by its author and unpacked again (`make weights`): a model of its own, ranked under its own name.
# What the rounding costs, on public test sets: the rounded was measured once, by no script of this course, and the
# original's figures are mteb's results:

# %%
rounding = pd.read_csv(catalog.FACTS / "rounding.csv")
rounding.drop(columns="source").style.hide(axis="index").format(precision=4, na_rep="unknown")

# %% [markdown]
# ## Two kinds of prompt
#
# Many pages say that E5 is instruction-tuned. Most of it isn't. A *prefix* is a fixed word that names the role of
# a text. An *instruction* is a sentence that you write for your task. The catalogue tells which model takes which.

# %%
prompts = pd.DataFrame(
    {
        "model": [c.name for c in cards],
        "before a query": [c.query_prompt for c in cards],
        "before a document": [c.document_prompt for c in cards],
        "kind": ["instruction" if "{task}" in c.query_prompt else "fixed prefix" for c in cards],
    }
)
instructed = prompts.loc[prompts["kind"] == "instruction", "model"]
print(f"instruction-tuned: {', '.join(instructed)}; the other {len(prompts) - len(instructed)} take the fixed prefixes")
prompts.style.hide(axis="index")

# %% [markdown]
# With a prefix model, both sides get one: the short side `query: `, the long side `passage: `, each with a space
# after the colon. `encode_query` and `encode_document` put them there. Gluing them on by hand gives the same
# vectors; doing both would put them there twice.

# %%
question = "how long does a parcel take"
answer = "Parcels within the country arrive after two working days."
by_library = np.stack([e5.encode_query(question), e5.encode_document(answer)])
by_hand = e5.encode([f"query: {question}", f"passage: {answer}"])
assert np.allclose(by_library, by_hand, atol=1e-5)
for name, text in e5.prompts.items():
    cost = len(e5.tokenizer(text, add_special_tokens=False)["input_ids"])
    print(f"{name}: '{text}', {cost} tokens of every text")

# %% [markdown]
# Not every task has two sides. Where both texts play the same part (paraphrases, duplicates, clusters, features
# of a classifier) the publishers put `query: ` on both, so use `encode_query` twice.
#
# **Decide, then run:** which prefix does plain `encode` put before a text?

# %%
plain = e5.encode(question)
for prefix in ("query: ", "passage: ", ""):
    same = np.allclose(plain, e5.encode(question, prompt=prefix), atol=1e-5)
    print(f"encode equals encode with prompt='{prefix}': {same}")

# %% [markdown]
# None, and no warning either. So what does that cost? The next cells measure it on weights that were trained with the
# prefixes. Each row changes the prefixes when searching, and compares with the right ones query by query. (To save
# time, models read at most 48 tokens of a passage from here on.)
#
# **Decide, then run:** what costs more, no prefix on both sides, or on one side only?

# %%
search = data.retrieval()
queries, corpus = list(search.queries.values()), list(search.corpus.values())
relevant = np.array([[search.qrels[q].get(d, 0) > 0 for d in search.corpus] for q in search.queries])
e5.max_seq_length = minilm.max_seq_length = 48
prefixes = ("query: ", "passage: ", "")
as_query = {prefix: e5.encode(queries, prompt=prefix) for prefix in prefixes}
as_document = {prefix: e5.encode(corpus, prompt=prefix) for prefix in prefixes}


def ndcg(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """nDCG@10 of each query."""
    return metrics.per_query(benchmark.retrieve(search, query, document), search.qrels)["ndcg@10"]


# %%
changes = {
    "none on both sides": ("", ""),
    "none on the query": ("", "passage: "),
    "none on the passage": ("query: ", ""),
    "exchanged": ("passage: ", "query: "),
    "query: on both sides": ("query: ", "query: "),
}
right = ndcg(as_query["query: "], as_document["passage: "])
rows, effects = [("right", metrics.estimate(metrics.mean, right), "")], {}
for change, (one, other) in changes.items():
    scores = ndcg(as_query[one], as_document[other])
    effects[change] = metrics.estimate(metrics.mean, scores - right)
    rows.append((change, metrics.estimate(metrics.mean, scores), effects[change]))
print(f"{e5_name}, {models.weights(e5).kind} weights")
pd.DataFrame(rows, columns=["prefixes", "nDCG@10", "change"]).style.hide(axis="index")

# %%
worse = [change for change in changes if effects[change].high < 0]
better = [change for change in changes if effects[change].low > 0]
print(f"worse than the right prefixes: {', '.join(worse) or 'none'}; better: {', '.join(better) or 'none'}; ", end="")
print(f"no difference shown: {len(changes) - len(worse) - len(better)} of {len(changes)}")
print(f"of {len(changes)} such intervals, about {0.05 * len(changes):.1f} leave out 0 by chance alone")

# %% [markdown]
# "No difference shown" is about these queries: on other data (XQuAD, in English and German) the same weights lose more
# by exchanged prefixes than by none. Where both sides play the same part, the question is asked of pairs. How well do
# cosines tell the course's labelled pairs apart?

# %%
pairs = data.pairs()
drawn, alike = np.random.default_rng(0).choice(len(pairs), len(pairs) // 4, replace=False), {}
for prefix in ("query: ", ""):
    first, second = (e5.encode([side[i] for i in drawn], prompt=prefix) for side in (pairs.sentence1, pairs.sentence2))
    alike[f"'{prefix}' on both"] = metrics.pair_scores((first * second).sum(axis=1), pairs.gold[drawn], graded=False)
pd.DataFrame({name: {"ROC-AUC": str(s["roc_auc"]), "separation": str(s["separation"])} for name, s in alike.items()}).T

# %% [markdown]
# The rule is the same whatever comes out: use what training used, on both sides, since a wrong prefix gives no error
# and you would have to measure to notice it.
#
# ## The loss
#
# The loss at the heart of E5 is InfoNCE. In a batch of pairs, each query has to find its own passage among
# the passages of all the others. The cosines are divided by a *temperature*, then the loss is what it is for any
# choice among classes: minus the logarithm of the right one's share in a softmax. By hand, by PyTorch, and by
# Sentence Transformers, whose `scale` is one divided by the temperature:

# %%
same = np.flatnonzero(pairs.gold == 1)[:16]
sides = ([side[i] for i in same] for side in (pairs.sentence1, pairs.sentence2))
first, second = (minilm.encode(side, convert_to_tensor=True) for side in sides)
cosines = minilm.similarity(first, second)
temperature = 0.05
shares = torch.exp(cosines / temperature)
naive = -torch.log(shares.diagonal() / shares.sum(dim=1)).mean()
targets = torch.arange(len(same), device=cosines.device)
by_torch = torch.nn.functional.cross_entropy(cosines / temperature, targets)
loss = MultipleNegativesRankingLoss(minilm, scale=1 / temperature)
by_library = loss.compute_loss_from_embeddings([first, second], labels=None)
assert torch.allclose(naive, by_torch, atol=1e-5) and torch.allclose(by_torch, by_library, atol=1e-5)
print(f"{len(same)} pairs: by hand {naive:.4f}, cross_entropy {by_torch:.4f}, Sentence Transformers {by_library:.4f}")

# %% [markdown]
# The naive formula has a limit. E5's encoders were trained at a temperature of `0.01`, so a cosine near one becomes
# a number near a hundred. Its exponential is infinite in `float32`, and infinity divided by infinity is `nan`.
# `cross_entropy` takes the largest away first.

# %%
twice = minilm.similarity(first, first)
shares = torch.exp(twice / 0.01)
naive = -torch.log(shares.diagonal() / shares.sum(dim=1)).mean()
mended = torch.nn.functional.cross_entropy(twice / 0.01, targets)
print(f"each text with itself at 0.01: by hand {naive:.3f}, cross_entropy {mended:.3f}")

# %% [markdown]
# ### What a temperature asks for
#
# How far must the right passage stand out in a batch of 32? Suppose that all the wrong ones have the same cosine.
# The loss is then a function of one number, the gap between right and wrong, and can be solved for it.

# %%
negatives, goal = 31, 0.1
temperatures = np.array([0.01, 0.02, 0.05, 0.1, 0.2])
gaps = temperatures * np.log(negatives / np.expm1(goal))
asked = pd.DataFrame({"temperature": temperatures, f"gap in cosine for a loss of {goal}": gaps.round(3)})
print(f"at {temperatures[0]} a gap of {gaps[0]:.2f} will do, at {temperatures[3]} it takes {gaps[3]:.2f}")
asked.style.hide(axis="index").format(precision=3)

# %% [markdown]
# At a low temperature the loss is content with small gaps, wherever on the scale they lie. Little pushes texts
# apart that are in the right order already. That is a claim about training, so it is tested by training.
#
# ## One experiment, two temperatures, and the real thing
#
# The course keeps two small adapters (LoRA: a few extra weights beside frozen ones). Both start from the first
# three layers of MiniLM, which on their own give vectors that are all alike. They see the same pairs in the same
# order with E5's prefixes, and only the temperature differs. (The recipe lies beside them, in
# `helpers/models/adapters/README.md`.) E5 itself was trained at `0.01`.
#
# **Decide, then run:** two passages drawn at random: which of the two temperatures gives them the higher cosine? And
# where will E5 lie?

# %%
contestants = {
    "temperature 0.1": adapters.load(0.1),
    "temperature 0.01": adapters.load(0.01),
    "MiniLM": minilm,
    e5_name: e5,
}
query_vectors = {name: model.encode_query(queries) for name, model in contestants.items() if name != e5_name}
document_vectors = {name: model.encode_document(corpus) for name, model in contestants.items() if name != e5_name}
query_vectors[e5_name], document_vectors[e5_name] = as_query["query: "], as_document["passage: "]
above = np.triu_indices(len(corpus), 1)
random_pairs = {name: (vectors @ vectors.T)[above] for name, vectors in document_vectors.items()}

# %%
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for (name, values), dashes in zip(random_pairs.items(), ["-.", "--", ":", "-"], strict=True):
    height, edges = np.histogram(values, bins=np.linspace(-0.7, 1, 86), density=True)
    axes.plot((edges[:-1] + edges[1:]) / 2, height, dashes, linewidth=2, label=name)
axes.set_xlabel("cosine of two passages drawn at random")
axes.set_ylabel("density (share per unit of cosine)")
axes.legend()
plt.show()

# %%
of_query = {name: ndcg(query_vectors[name], document_vectors[name]) for name in contestants}
rows = []
for name in contestants:
    low, middle, high = np.quantile(random_pairs[name], [0.05, 0.5, 0.95])
    level = {"median cosine": f"{middle:.2f}", "from 5% to 95%": f"{low:.2f} to {high:.2f}"}
    rows.append({"model": name, **level, "nDCG@10": metrics.estimate(metrics.mean, of_query[name])})
cold, warm = "temperature 0.01", "temperature 0.1"
level = {name: np.median(random_pairs[name]) for name in contestants}
print(f"median cosine of random passages: {level[warm]:.2f} at 0.1, {level[cold]:.2f} at 0.01, E5 {level[e5_name]:.2f}")
pd.DataFrame(rows).style.hide(axis="index")

# %% [markdown]
# The adapters are real models, if weak ones: each temperature was trained once, on minutes of data, so their ranking is
# no verdict on temperatures. The distance between the levels of cosine is what the experiment shows, and E5 shows the
# same in the flesh: a narrow band of high cosines, in which nearly all texts lie, related or not. A high level isn't a
# fault by itself, and a low one no merit: what counts is the order, and any stretching that keeps the order keeps
# nDCG. To see that, MiniLM's cosines are squeezed to where E5's lie.


# %%
def ten_best(values: np.ndarray) -> np.ndarray:
    """The ten highest of each row, best first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :10]


scores = (query_vectors["MiniLM"] @ document_vectors["MiniLM"].T).astype(np.float64)
target = query_vectors[e5_name] @ document_vectors[e5_name].T
squeezed = target.mean() + (scores - scores.mean()) * target.std() / scores.std()
for name, values in {"before": scores, "after": squeezed}.items():
    print(f"{name}: nearly all cosines from {np.quantile(values, 0.01):.2f} to {np.quantile(values, 0.99):.2f}")
print(f"same ten best for every query: {np.array_equal(ten_best(scores), ten_best(squeezed))}")

# %% [markdown]
# ## A threshold fails, a rank doesn't
#
# "Keep what has a cosine above one half" is a line in many programs. Let it be chosen with care: on half of the
# queries, with MiniLM, the threshold that finds relevant passages best (by F1, the harmonic mean of precision and
# recall). Then the same number meets the other half, and E5.

# %%
known, fresh = np.arange(0, len(queries), 2), np.arange(1, len(queries), 2)
cosine = {name: query_vectors[name] @ document_vectors[name].T for name in ("MiniLM", e5_name)}


def f1(keep: np.ndarray, right: np.ndarray) -> float:
    """Harmonic mean of precision and recall."""
    return float(2 * (keep & right).sum() / (keep.sum() + right.sum()))


candidates = np.quantile(cosine["MiniLM"][known], np.linspace(0.5, 0.9999, 400))
threshold = max(candidates, key=lambda t: f1(cosine["MiniLM"][known] > t, relevant[known]))


# %%
def report(keep: np.ndarray, name: str) -> None:
    """How many passages a rule keeps, and how many of the relevant ones are among them."""
    right = relevant[fresh]
    found = metrics.estimate(metrics.mean, (keep & right).sum(axis=1) / right.sum(axis=1))
    kept = f"{keep.sum(axis=1).mean():.1f} of {len(corpus)} passages a query"
    print(f"{name}: keeps {kept}, recall {found}, F1 {f1(keep, right):.2f}")


print(f"threshold {threshold:.2f}, chosen on MiniLM")
for name in cosine:
    report(cosine[name][fresh] > threshold, name)

# %% [markdown]
# A threshold carries the scale of its model. Two rules don't. A *rank* keeps the few best of each query. A
# *percentile* asks how rare so high a cosine is among texts that have nothing to do with each other, by the same
# model: here the cosines of the first half's queries with all passages. Nearly all of those are unrelated, and no
# labels are needed.

# %%
for name in cosine:
    report(np.argsort(np.argsort(-cosine[name][fresh], axis=1), axis=1) < 3, f"{name}, three best")
for name in cosine:
    limit = np.quantile(cosine[name][known], 0.99)
    report(cosine[name][fresh] > limit, f"{name}, rarest hundredth (above {limit:.2f})")

# %% [markdown]
# Both rules carry over unchanged, while the cosine behind the second differs from model to model. A rank needs
# candidates to compare with, as every search has; a percentile can also decide on a single pair. On their cards the
# authors say to expect cosines from `0.7` to `1.0`. Take that as a property of the loss and not as a sign of similar
# texts.
#
# ## multilingual-e5
#
# The multilingual models keep the prefixes, in English, whatever the language of the text. Two figures about them
# are often misread. The first is their length: you will find 514. The large and base models are XLM-RoBERTa,
# which numbers its positions from two on, so a table of 514 positions holds 512 tokens. A tiny model of the same
# class shows it.

# %%
shape = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
tiny = XLMRobertaModel(XLMRobertaConfig(**shape, intermediate_size=16, max_position_embeddings=514)).eval()
for tokens in (512, 513):
    try:
        print(f"{tokens} tokens: shape {tuple(tiny(torch.full((1, tokens), 7)).last_hidden_state.shape)}")
    except (RuntimeError, IndexError) as error:
        print(f"{tokens} tokens: {error}")
print({c.name: c.max_tokens for c in cards if c.name.startswith("multilingual")})

# %% [markdown]
# The second is their size. multilingual-e5-small has the width of MiniLM, and yet it isn't small.

# %%
multilingual = [c for c in cards if c.name.startswith("multilingual")]
compared = [minilm_card := catalog.card("all-MiniLM-L6-v2"), catalog.card("e5-small-v2"), *multilingual]
sizes = pd.DataFrame(
    {
        "model": [c.name for c in compared],
        "dims": [c.dims for c in compared],
        "vocabulary": [c.vocab for c in compared],
        "parameters (M)": [c.params_total / 1e6 for c in compared],
        "of these token vectors (M)": [c.vocab * c.hidden / 1e6 for c in compared],
    }
)
sizes["share of token vectors"] = sizes.iloc[:, 4] / sizes.iloc[:, 3]
small = sizes[sizes["model"] == "multilingual-e5-small"].iloc[0]
print(f"{small.iloc[0]}: {small.iloc[3]:.0f} M parameters, {small.iloc[5]:.0%} of them token vectors")
sizes.style.hide(axis="index").format(precision=1).format("{:.0%}", subset=["share of token vectors"])

# %% [markdown]
# Token vectors are looked up, not multiplied. They cost memory and hardly any time: so size by parameters, speed by
# measurement, and neither by dimensions.
#
# ### Where an English model ends
#
# The course's parallel sentences say the same in nine languages, in threes about one subject that differ in a
# detail. The task: given a sentence in another language, find its English counterpart among all. First, what a
# tokenizer made for English does to the others. `[UNK]` is what it writes for a word it can't write at all.

# %%
parallel = data.parallel()
tokenizer = minilm.tokenizer
tokens = {
    language: [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    for language, texts in parallel.items()
}
counts = {language: sum(map(len, ids)) for language, ids in tokens.items()}
words = {language: sum(len(text.split()) for text in texts) for language, texts in parallel.items()}
unknown = {language: sum(i.count(tokenizer.unk_token_id) for i in ids) for language, ids in tokens.items()}
reading = pd.DataFrame(
    {
        "tokens a word": {lang: counts[lang] / words[lang] if lang != "zh" else np.nan for lang in parallel},
        "tokens, English = 1": {lang: counts[lang] / counts["en"] for lang in parallel},
        "[UNK] share": {lang: unknown[lang] / counts[lang] for lang in parallel},
    }
)
longest = reading["tokens, English = 1"].idxmax()
print(f"most tokens: {longest}, {reading.loc[longest].iloc[1]:.1f} for each English one of the same meaning")
reading.style.format(precision=2, na_rep="no spaces")


# %%
def cross_language(vectors: dict[str, np.ndarray]) -> dict[str, metrics.Estimate]:
    """Per language, the share of sentences whose nearest English one is their own; whole threes are resampled."""
    found = {}
    for language in list(vectors)[1:]:
        nearest = (vectors[language] @ vectors["en"].T).argmax(axis=1)  # unit vectors
        hits = (nearest == np.arange(len(nearest))).astype(float)
        found[language] = metrics.estimate(metrics.mean, hits.reshape(-1, 3).mean(axis=1))
    return found


by_minilm = {language: minilm.encode_query(list(texts)) for language, texts in parallel.items()}
accuracy = {"MiniLM": cross_language(by_minilm)}
if models.weights(e5).real:
    by_e5 = {lang: e5.encode_query(list(texts), normalize_embeddings=True) for lang, texts in parallel.items()}
    accuracy[e5_name] = cross_language(by_e5)
else:
    print("multilingual-e5-small: no real weights here, so it isn't scored; `make weights` fetches them")

# %% [markdown]
# Both sides play the same part, so both go through `encode_query` (for E5: `query: ` on both).

# %%
figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
for shift, (name, by_language), marker in zip((0, 0.25), accuracy.items(), "os", strict=False):
    values = list(by_language.values())
    bars = [[e.value - e.low for e in values], [e.high - e.value for e in values]]
    heights = [e.value for e in values]
    axes.errorbar(np.arange(len(values)) + shift, heights, yerr=bars, fmt=marker, capsize=3, label=name)
chance = 1 / len(parallel["en"])
axes.axhline(chance, color="#7f7f7f", linestyle="--", label="chance")
axes.set_xticks(range(len(accuracy["MiniLM"])), list(accuracy["MiniLM"]))
axes.set_ylim(-0.02, 1.02)
axes.set_xlabel("language of the query")
axes.set_ylabel("accuracy (share), 95% interval")
axes.legend()
plt.show()
pd.DataFrame({name: {lang: str(e) for lang, e in found.items()} for name, found in accuracy.items()}).T

# %%
top = max(e.value for e in accuracy["MiniLM"].values())
best = [lang for lang, e in accuracy["MiniLM"].items() if np.isclose(e.value, top)]
at_chance = [lang for lang, e in accuracy["MiniLM"].items() if e.low <= chance]
others = {}
for lang in ("en", "zh"):
    others[lang] = (by_minilm[lang] @ by_minilm[lang].T)[np.triu_indices(len(parallel[lang]), 1)].mean()
print(f"MiniLM, highest: {' and '.join(best)}, {accuracy['MiniLM'][best[0]]}")
print(f"not told from chance ({chance:.3f}): {', '.join(at_chance) or 'none'}")
print(f"mean cosine of different sentences: English {others['en']:.2f}, Chinese {others['zh']:.2f}")
if e5_name in accuracy:
    lowest = min(accuracy[e5_name], key=lambda lang: accuracy[e5_name][lang].value)
    print(f"{e5_name}, lowest: {lowest}, {accuracy[e5_name][lowest]}")

# %% [markdown]
# Names, numbers and word pieces that two languages share are the likely reason for what is found. Nothing fails
# loudly: MiniLM gives a vector for any text, the ones made of `[UNK]` too. Check a tokenizer on your languages
# before you trust a model.
#
# multilingual-e5-large-instruct is another model than multilingual-e5-large, of the same size. It is the one that
# takes an instruction before a query, and nothing before a document.

# %%
print(models.code("intfloat/multilingual-e5-large-instruct"))
large, instruct = catalog.card("multilingual-e5-large"), catalog.card("multilingual-e5-large-instruct")
print()
for c in (large, instruct):
    score, tasks = c.multilingual_v2_computed_mean_task, c.multilingual_v2_n_of_131
    print(f"{c.name}: {score} on MTEB(Multilingual, v2), {tasks} of 131 tasks")

# %% [markdown]
# ## e5-mistral: a language model that embeds
#
# e5-mistral-7b-instruct is a decoder: each token sees only what stands before it. So only the *last* token has
# seen the whole text, and its vector is the text's. The naive way takes the last column. The texts go through a
# tiny random Mistral here, padded on the right and on the left, and each is compared with itself encoded alone.

# %%
torch.manual_seed(0)
mistral = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
settings = MistralConfig(vocab_size=tokenizer.vocab_size, num_hidden_layers=2, pad_token_id=0, **mistral)
decoder = MistralModel(settings).eval()
three = ["a short text", "one that is a good deal longer than the two others", "one"]


def hidden(texts: list[str], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, tokens, dimensions) of hidden states, and the attention mask."""
    batch = tokenizer(texts, padding=True, padding_side=side, return_token_type_ids=False, return_tensors="pt")
    with torch.inference_mode():
        return decoder(**batch).last_hidden_state, batch["attention_mask"]


alone = torch.stack([hidden([text], "right")[0][0, -1] for text in three])
for side in ("left", "right"):
    states, mask = hidden(three, side)
    right = torch.isclose(states[:, -1], alone, atol=1e-5).all(dim=1).tolist()
    print(f"last column, padded on the {side}: right for each text: {right}")

# %% [markdown]
# Padded on the left, the last column is the last token of every text. Padded on the right it is padding, except in
# the longest text: so a test with one text passes. The often seen mend `mask.sum() - 1` breaks in turn when
# padding is on the left. What holds on both sides is the last place where the mask is one.


# %%
def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(texts, dimensions): the state of each text's last real token, wherever the padding is."""
    last = mask.shape[1] - 1 - mask.flip(dims=[1]).argmax(dim=1)
    return states[torch.arange(len(states)), last]


pooling = Pooling(mistral["hidden_size"], pooling_mode="lasttoken")
for side in ("left", "right"):
    states, mask = hidden(three, side)
    by_library = pooling({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]
    counted = states[torch.arange(len(three)), mask.sum(dim=1) - 1]
    assert torch.allclose(last_token(states, mask), by_library, atol=1e-6)
    assert torch.allclose(last_token(states, mask), alone, atol=1e-5)
    print(f"padded on the {side}: by hand and by library right; ", end="")
    print(f"by mask.sum() - 1 right: {torch.allclose(counted, alone, atol=1e-5)}")

# %% [markdown]
# The last token is a mark that ends every text, here `[SEP]`, in e5-mistral `</s>`. A tokenizer that doesn't write it
# changes every vector without an error, and that is what happens to e5-mistral under transformers 5: its two files
# contradict each other, and the one that counts now leaves the mark out (mteb's pull request 5237). So the call needs
# one argument more, and both marks in it, since naming one alone takes the other off:

# %%
print(models.code("intfloat/e5-mistral-7b-instruct"))

# %% [markdown]
# ### Instructions
#
# A query is `Instruct: `, a sentence about the task, a line break, and `Query: ` with the text. A document goes in
# bare, so an index stays valid when you change the instruction. The model's own files name such prompts
# (`web_search_query` is one: `model.encode(queries, prompt_name="web_search_query")`). For a task of your own:

# %%
task = "Given a symptom of a machine, retrieve the repair instruction"
template = catalog.card("e5-mistral-7b-instruct").query_prompt.replace("\\n", "\n")
own = template.replace("{task}", task)
print(own + "it hums but does not turn")
cost = len(tokenizer(own, add_special_tokens=False)["input_ids"])
print(f"\nthe instruction takes {cost} tokens of each query (counted by MiniLM's tokenizer)")

# %% [markdown]
# ### How far it reads
#
# Its position table goes further than its attention. A *sliding window* lets a token see only so many tokens
# back, itself included; what lies further can reach it through deeper layers only. In a tiny model with a window
# of eight, the first token is changed, and we look how far the change is felt.

# %%
reach = {}
for layers in (1, 2, 3):
    windowed = MistralModel(MistralConfig(vocab_size=100, num_hidden_layers=layers, sliding_window=8, **mistral)).eval()
    ids = torch.randint(5, 100, (1, 40), generator=torch.Generator().manual_seed(0))
    changed = torch.cat([torch.tensor([[3]]), ids[:, 1:]], dim=1)
    with torch.inference_mode():
        change = (windowed(ids).last_hidden_state - windowed(changed).last_hidden_state).abs().amax(dim=2)[0]
    reach[layers] = int(torch.nonzero(change > 1e-7).max())
print(f"layers -> last token that feels it: {reach}; layers * (window - 1): {[n * 7 for n in reach]}")
seven = catalog.card("e5-mistral-7b-instruct")
print(f"{seven.name}: {seven.max_tokens:,} positions; {seven.max_tokens_note}")

# %% [markdown]
# So `32,768` is what the position table would hold, not what it was tried at. Its card sets `max_seq_length` to
# 4096: cut longer texts into passages.
#
# ### What it weighs
#
# A twin has the model's exact architecture. On PyTorch's `meta` device it has shapes and no memory, so even seven
# billion parameters can be counted on a laptop. Times the bytes of a number, that is the least a GPU must hold.

# %%
parameters = twins.parameter_count("intfloat/e5-mistral-7b-instruct")
assert parameters == seven.params_total
cards_gb, headroom = (8, 16, 24, 48, 80), 1.2  # usual sizes of GPU memory; a fifth more for driver and gaps
batch_tokens = 4096  # one text of full length, or eight of 512
working = batch_tokens * (2 * seven.intermediate + 4 * seven.hidden)  # numbers alive in the widest layer, about
bytes_each = {"float32": (4, 4), "bfloat16": (2, 2), "int8 weights": (1, 2)}  # of a weight, of a working number
rows = [(name, parameters * w / 1e9, working * a / 1e9) for name, (w, a) in bytes_each.items()]
need = pd.DataFrame(rows, columns=["precision", "weights (GB)", "working (GB)"])
totals = headroom * (need["weights (GB)"] + need["working (GB)"])
need["smallest card"] = [min(size for size in cards_gb if size > total) for total in totals]
print(f"{parameters:,} parameters, counted on the twin")
need.style.hide(axis="index").format(precision=1).format("{} GB", subset=["smallest card"])

# %% [markdown]
# Read the last column as where to begin: larger batches come on top, and int8 keeps scales and usually some layers
# in a wider kind.
#
# ## Speed, by twin
#
# Speed depends on shapes and not on what the weights have learned. The figures below are from twins, models with
# random weights, on one core; the largest are extrapolated from their first layers. They say nothing of quality.

# %%
measured = twins.measured()
cpu = measured[(measured["device"] == "cpu") & measured["hub_id"].isin([minilm_card.hub_id, *names])].copy()
cpu["model"] = cpu["hub_id"].str.split("/").str[1]
cpu["against MiniLM"] = cpu["tokens_per_s"] / cpu.loc[cpu["hub_id"] == minilm_card.hub_id, "tokens_per_s"].item()
cpu["layers timed"] = cpu["layers_run"].astype(str) + " of " + cpu["layers"].astype(str)
one = cpu.iloc[0]
print(f"{one['hardware']}, {one['threads']} thread, {one['dtype']}, texts of {one['tokens']} tokens, {one['date']}")
for name, speed in cpu.set_index("model")["tokens_per_s"].items():
    if name in ("e5-small-v2", "multilingual-e5-small", "e5-mistral-7b-instruct"):
        print(f"{name}: a million such texts take {1e6 * one['tokens'] / speed / 3600:,.0f} hours of such a core")
shown = ["model", "weights_mb", "peak_mb", "layers timed", "tokens_per_s", "against MiniLM"]
cpu[shown].style.hide(axis="index").format(precision=0, na_rep="unknown").format("{:.3f}", subset=["against MiniLM"])

# %% [markdown]
# multilingual-e5-large and its instruct sibling have one shape: what lies between their two speeds is the error of
# such a measurement, so take no smaller difference in this column for one between models.
#
# ## Recap
#
# - **Use**: `query: ` and `passage: ` on both sides through `encode_query` and `encode_document`, `query: ` twice
#   where the sides are alike; plain `encode` adds none, without a warning. Only the instruct models take a
#   sentence about the task.
# - **Explain**: at a low temperature small gaps satisfy the loss, so cosines may stay close together and high.
#   The order is what was trained: decide by rank, or by percentile of the model's own unrelated cosines.
# - **Judge**: 512 tokens, not 514; parameters that in the small and base multilingual models are mostly vocabulary; an
#   English tokenizer fails quietly on other languages; a decoder pools its last token, and its memory is parameters
#   times bytes.
#
# Test yourself: Two models give one pair the cosines `0.9` and `0.4`; which finds it more similar? Why does a test with
# one text miss a fault in last-token pooling? When do both sides take `query: `?
#
# Now the exercise: [prefixes, loss, pooling, decision](../exercises/04_e5/04_e5.ipynb)
#
# Sources: Wang et al. 2022, *Text Embeddings by Weakly-Supervised Contrastive Pre-training*
# ([arXiv](https://arxiv.org/abs/2212.03533)); Wang et al. 2024, *Multilingual E5*
# ([arXiv](https://arxiv.org/abs/2402.05672)); Wang et al. 2024, *Improving Text Embeddings with Large Language
# Models* ([arXiv](https://arxiv.org/abs/2401.00368)); van den Oord et al. 2018, *InfoNCE*
# ([arXiv](https://arxiv.org/abs/1807.03748)); Wang and Isola 2020, *Alignment and Uniformity*
# ([arXiv](https://arxiv.org/abs/2005.10242)); Hu et al. 2021, *LoRA* ([arXiv](https://arxiv.org/abs/2106.09685));
# Lee et al. 2019, the inverse cloze task ([arXiv](https://arxiv.org/abs/1906.00300)); the authors' advice on
# prefixes and cosines on [their card](https://huggingface.co/intfloat/e5-small-v2); the catalogue
# `helpers/facts/models.csv` with a source for each figure.
