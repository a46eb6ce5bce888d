# %% [markdown]
# # 05 · GTE
#
# After this lesson you can
# - **choose** among the GTE models and give each the input it was trained on: bare text, or an instruction,
# - **explain** why a decoder's attention and its pooling belong together,
# - **catch** a model that silently runs with the wrong attention, in a second, before you index anything.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# GTE means General Text Embeddings, a family from Alibaba. Its first models are small English encoders; its later
# ones are rebuilt language models. This lesson uses both to show what a *prefix*, an *instruction* and a *causal
# mask* do to a vector.

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, hub or stand-in
trust_remote_code: bool = False  # allow a model's own code from the hub; read it first

# %%
import json
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import sentence_transformers
import torch
import transformers
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoModel, AutoTokenizer, DynamicCache, Qwen2Config, Qwen3Config

from helpers import bundled, catalog, data, load, models, weights
from helpers.errors import CourseError
from helpers.measure import metrics
from helpers.models import twins

minilm = load("all-MiniLM-L6-v2")
gte = load("thenlper/gte-small", source=source)
versions = f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}"
print(f"device {gte.device}, {versions}, gte-small: {weights(gte).kind}")

# %% [markdown]
# ## The family
#
# All from the catalogue; "unknown" means that no source was found. The last row, Qwen3-Embedding, carries another
# name but comes from the same company and is the successor of gte-Qwen2.

# %%
FAMILY = [
    "gte-small",
    "gte-base",
    "gte-large",
    "gte-modernbert-base",
    "gte-multilingual-base",
    "gte-Qwen2-1.5B-instruct",
    "gte-Qwen2-7B-instruct",
    "Qwen3-Embedding-0.6B",
]
cards = {name: catalog.card(name) for name in FAMILY}
pd.DataFrame(
    {
        "model": [c.hub_id for c in cards.values()],
        "dims": [c.dims for c in cards.values()],
        "tokens": [c.max_tokens for c in cards.values()],
        "parameters (M)": [f"{c.params_total / 1e6:,.0f}" for c in cards.values()],
        "languages (mteb)": [str(c.languages_mteb or "unknown") for c in cards.values()],
        "pooling": [c.pooling or "unknown" for c in cards.values()],
        "before a query": [c.query_prompt.replace("none", "nothing") for c in cards.values()],
    }
).set_index("model")

# %% [markdown]
# Read three things off it. The first three are English only and read 512 tokens, whatever you may have heard of
# "strong multilingual": for other languages the family has `gte-multilingual-base`. Nothing goes before a query
# until you come to the Qwen models. And pooling changes twice, from the mean to the first token (`cls`) to the
# last.
#
# Scores stand in one column for each benchmark, since each is a mean over other tasks. Compare down a column,
# never across.

# %%


def score(published: float | None, computed: float | None) -> str:
    """A score and who computed it."""
    if published:
        return f"{published} (published)"
    return f"{computed} (results)" if computed else "unknown"


pd.DataFrame(
    {
        "model": FAMILY,
        "MTEB(eng, v1)": [score(c.eng_v1_published, c.eng_v1_computed) for c in cards.values()],
        "MTEB(eng, v2)": [score(c.eng_v2_published, c.eng_v2_computed_mean_task) for c in cards.values()],
        "MTEB(Multilingual, v2)": [
            score(c.multilingual_v2_published, c.multilingual_v2_computed_mean_task) for c in cards.values()
        ],
    }
).set_index("model")

# %% [markdown]
# "Results" are means that the course computed from mteb's public results repository; they can lie a little below
# what the authors publish. `gte-modernbert-base` is the newer English encoder at about the size of `gte-base`:

# %%
base, modern = cards["gte-base"], cards["gte-modernbert-base"]
for c in (base, modern):
    print(f"{c.name}: {c.params_total / 1e6:.0f}M parameters, reads {c.max_tokens} tokens, ", end="")
    print(f"{c.eng_v1_published} on MTEB(eng, v1) as published, prefix: {c.query_prompt}")

# %% [markdown]
# ## Encode, and a crash
#
# Without this course you would load the small one like this, with its revision pinned:

# %%
print(models.code("thenlper/gte-small"))

# %% [markdown]
# **Decide, then run:** the next cell is what many a tutorial shows for GTE. Will it print a similarity?

# %%
texts = [
    "Machine learning finds patterns in data.",
    "Statistical models can be fitted to examples automatically.",
]
embeddings = gte.encode(texts)
similarity = gte.similarity(embeddings[0], embeddings[1])
try:
    print(f"similarity: {similarity:.4f}")
except TypeError as error:
    print(f"TypeError: {error}; the shape is {tuple(similarity.shape)}")

# %% [markdown]
# `similarity` compares every row on the left with every row on the right and always returns a matrix, here with
# one row and one column. `.item()` takes the number out; `similarity_pairwise` compares row by row.

# %%
pairwise = gte.similarity_pairwise(embeddings[:1], embeddings[1:])
assert np.isclose(similarity.item(), pairwise[0].item(), atol=1e-6)
print(f"similarity: {similarity.item():.4f} ({weights(gte).kind} weights)")

# %% [markdown]
# ## No prefix means no prefix
#
# E5 wants `query: ` before a question, BGE an instruction, nomic a task name. The GTE encoders were trained on bare
# text, and so was MiniLM. Their prompts are empty, and the three ways to encode agree:

# %%
print("prompts:", gte.prompts)
ways = [encode(texts) for encode in (gte.encode, gte.encode_query, gte.encode_document)]
assert all(np.allclose(ways[0], other, atol=1e-6) for other in ways[1:])
print("encode, encode_query and encode_document give the same vectors")

# %% [markdown]
# People who change models often keep the old model's prefixes. What does that cost? It needs real weights to
# measure: GTE's own where they could be loaded, else MiniLM's, which is real and has no prefix either. The cell
# takes each query's nDCG@10 (how high the right documents stand in the first ten, 1 is perfect) with other models'
# prefixes, straight from the catalogue.

# %%
judged = gte if weights(gte).real else minilm
judged_name = "gte-small" if judged is gte else "all-MiniLM-L6-v2"
search = data.retrieval()


@cache
def encoded(side: str, prefix: str) -> np.ndarray:
    """Unit vectors of all queries or of all documents, each text with the prefix before it."""
    texts_of = search.queries if side == "query" else search.corpus
    encode = judged.encode_query if side == "query" else judged.encode_document
    return encode(list(texts_of.values()), prompt=prefix, normalize_embeddings=True)


def ndcg(query_prefix: str, document_prefix: str) -> np.ndarray:
    """nDCG@10 of each query."""
    scores = encoded("query", query_prefix) @ encoded("document", document_prefix).T
    rows = zip(search.queries, scores.tolist(), strict=True)
    run = {query: dict(zip(search.corpus, row, strict=True)) for query, row in rows}
    return metrics.per_query(run, search.qrels)["ndcg@10"]


bare = ndcg("", "")
print(f"{judged_name} on bare text: nDCG@10 {metrics.estimate(metrics.mean, bare)}, {len(bare)} queries")

# %% [markdown]
# The same queries are judged twice, so their differences can be averaged: a *paired* comparison. It is far
# sharper than two separate intervals, because hard queries are hard both times. **Decide, then run:** is a foreign
# prefix worse on one side or on both?

# %%
FOREIGN = [
    ("e5-base-v2", "queries only"),
    ("bge-base-en-v1.5", "queries only"),
    ("nomic-embed-text-v1.5", "queries only"),
    ("nomic-embed-text-v1.5", "documents only"),
    ("nomic-embed-text-v1.5", "both"),
    ("gte-Qwen2-1.5B-instruct", "queries only"),
]
rows = []
for name, side in FOREIGN:
    prompt = catalog.card(name).prompts
    before_query = "" if side == "documents only" else prompt["query"]
    before_document = "" if side == "queries only" else prompt["document"]
    change = metrics.estimate(metrics.mean, ndcg(before_query, before_document) - bare)
    rows.append({"prefix of": name, "side": side, "change": change.value, "low": change.low, "high": change.high})
changes = pd.DataFrame(rows)
changes.round(3)

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
COLOURS = {"queries only": "#0072b2", "documents only": "#e69f00", "both": "#d55e00"}
for place, row in changes.iterrows():
    error = [[row["change"] - row["low"]], [row["high"] - row["change"]]]
    axes.errorbar(row["change"], place, xerr=error, fmt="o", capsize=3, color=COLOURS[row["side"]])
for side, colour in COLOURS.items():
    axes.plot([], [], "o", color=colour, label=side)
axes.axvline(0, color="grey", linestyle="--", label="bare text")
axes.set_yticks(range(len(changes)), changes["prefix of"])
axes.invert_yaxis()
axes.set_ylabel("prefix of")
axes.set_xlabel(f"change in nDCG@10 of {judged_name} (mean over queries, 95% interval)")
axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
for verdict, found in {
    "lower than bare text": changes[changes["high"] < 0],
    "higher than bare text": changes[changes["low"] > 0],
    "not told apart from bare text": changes[(changes["low"] <= 0) & (changes["high"] >= 0)],
}.items():
    print(f"{verdict}: {', '.join(found['prefix of'] + ' ' + found['side']) or 'none'}")
worst = changes.loc[changes["change"].idxmin()]
span = f"[{worst['low']:+.3f}, {worst['high']:+.3f}]"
print(f"largest loss: {worst['prefix of']}, {worst['side']}: {worst['change']:+.3f} {span}")
print(f"({len(changes)} intervals at 95% each: one in twenty misses by chance)")
instruction = catalog.card("gte-Qwen2-1.5B-instruct").prompts["query"]
for what, prefix in {"without an": "", "with gte-Qwen2's": instruction}.items():
    cosines = encoded("query", prefix) @ encoded("query", prefix).T
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    print(f"queries {what} instruction: mean cosine with each other {others.mean():.2f}")

# %% [markdown]
# A prefix is a handful of extra words that go into every mean, the same in each text: the last two lines show how
# much they make all queries look alike. A short, neutral one can go unnoticed in a test of this size. It wasn't in
# the training, so nothing promises a gain. When you change the model, change the prompts with it: with `prompts` in
# the model's own files and `encode_query` in your code, you needn't think of it.
#
# ## English only
#
# What does "English only" mean in practice? Take MiniLM, which is English as the small GTE models are, with a
# vocabulary of word pieces of the same size. For each sentence in another language, is its English translation the
# nearest of all the English ones? Sentences come in threes that share a subject, so a name alone doesn't decide.

# %%


def finds_translation(model: SentenceTransformer) -> pd.DataFrame:
    """Share of sentences whose English version is the nearest, with interval, and what the tokenizer makes of them."""
    sentences = {language: data.parallel()[language] for language in ("en", "de", "tr", "ru", "zh")}
    english = model.encode(list(sentences["en"]), normalize_embeddings=True)
    rows = []
    for language, translated in list(sentences.items())[1:]:
        nearest = (model.encode(list(translated), normalize_embeddings=True) @ english.T).argmax(axis=1)
        accuracy = metrics.estimate(metrics.mean, (nearest == np.arange(len(english))).astype(float))
        tokens = [token for text in translated for token in model.tokenizer.tokenize(text)]
        unknown = sum(token == model.tokenizer.unk_token for token in tokens) / len(tokens)
        rows.append([language, accuracy.value, accuracy.low, accuracy.high, unknown, len(tokens) / len(english)])
    columns = ["language", "accuracy", "low", "high", "unknown tokens (share)", "tokens a sentence"]
    return pd.DataFrame(rows, columns=columns).set_index("language").round(3)


reach = finds_translation(minilm)
reach

# %%
best, least = reach["accuracy"].idxmax(), reach["accuracy"].idxmin()
chance = 1 / len(data.parallel()["en"])
for language in (best, least):
    row = reach.loc[language]
    print(f"{language}: {row['accuracy']:.2f} [{row['low']:.2f}, {row['high']:.2f}]", end="; ")
print(f"guessing: {chance:.3f}")
print(f"most unknown tokens: {reach['unknown tokens (share)'].idxmax()}, ", end="")
print(f"{reach['unknown tokens (share)'].max():.0%} of its tokens")

# %% [markdown]
# Nothing failed: every sentence got a vector. The last two columns of the table say what the model had to work
# with: many small pieces, or `[UNK]`, in which words can't be told apart. Lesson 04 looks at this in depth, in all
# the languages of the set. The family's answer is another model, whose first token (CLS) is the text's
# vector:

# %%
many = cards["gte-multilingual-base"]
print(f"{many.hub_id}: {many.dims} dims, {many.max_tokens} tokens, {many.params_total / 1e6:.0f}M parameters,")
print(f"of them {many.params_embedding / 1e6:.0f}M in the vocabulary; ", end="")
print(f"pooling {many.pooling}, prefix {many.query_prompt}\n")
print(models.code(many.hub_id), "\n")
try:
    multilingual = load(many.hub_id, source=source, trust_remote_code=trust_remote_code)
    if weights(multilingual).real:
        print(finds_translation(multilingual))
except CourseError as error:
    print(error)

# %% [markdown]
# ## Two ways to look: causal and bidirectional
#
# BERT and its kin are *encoders*: each token looks at all others. A language model such as Qwen2 is a *decoder*:
# it is trained to guess the next token, so a token may only look back. That rule is the *causal mask*. gte-Qwen2
# took the decoder's weights and lifted the mask; Qwen3-Embedding kept it.
#
# Attention gives each token a weighted mean of the others' values. To forbid the future, set its scores to minus
# infinity before the softmax. The careless version sets them to zero:

# %%
length, width = 6, 8
draw = torch.Generator().manual_seed(0)
query, key, value = (torch.randn(1, length, width, generator=draw) for _ in range(3))
allowed = torch.ones(length, length).tril().bool()  # row: the token that looks; column: what it looks at
raw = query @ key.mT / width**0.5
careless = raw.masked_fill(~allowed, 0.0).softmax(dim=-1)
careful = raw.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
library = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
assert torch.allclose(careful @ value, library, atol=1e-6)
print(f"first token's weight on its future: zeros {careless[0, 0, 1:].sum():.3f}, minus infinity ", end="")
print(f"{careful[0, 0, 1:].sum():.3f}; the second agrees with PyTorch's is_causal=True")

# %% [markdown]
# Now two tiny Qwen2 models with the same random weights: one as it comes, one with `is_causal=False` in its
# configuration, which recent versions of transformers honour in their decoder classes. Random weights say nothing
# of quality, but who can see whom is a matter of wiring, not of weights.

# %%
SHAPE = {
    "vocab_size": 30522,  # MiniLM's, so that its tokenizer fits
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,  # so that attention counts for something beside the token itself
    "pad_token_id": 0,
}


def tiny(configuration: type = Qwen2Config, **settings: bool) -> torch.nn.Module:
    """A decoder of two layers with seeded random weights."""
    torch.manual_seed(0)
    return AutoModel.from_config(configuration(**SHAPE, **settings)).eval()


pair = {"causal": tiny(), "bidirectional": tiny(is_causal=False)}
same = zip(*(model.state_dict().values() for model in pair.values()), strict=True)
print("same weights:", all(torch.equal(one, other) for one, other in same))
print(f"{sum(p.numel() for p in pair['causal'].parameters()) / 1e6:.1f}M parameters each")

# %% [markdown]
# Change one token of a text, and see which hidden states (one vector a token, from the last layer) move.
# **Decide, then run:** in which of the two can a change of the last token move the first state?

# %%
TOKENS, TEXTS = 8, 100
draw = torch.Generator().manual_seed(1)
ids = torch.randint(1000, 30000, (TEXTS, TOKENS), generator=draw)
ids[:, -1] = 102  # every text ends with the same end token, [SEP] here


@torch.inference_mode()
def states_after(model: torch.nn.Module, changed: int | None = None) -> torch.Tensor:
    """Hidden states (texts, tokens, dimensions), one token of each text replaced by another."""
    other = ids.clone()
    if changed is not None:
        other[:, changed] = torch.randint(1000, 30000, (TEXTS,), generator=torch.Generator().manual_seed(2))
    return model(input_ids=other).last_hidden_state


moves = {}  # (changed token, state that moves): mean length of the move
for name, model in pair.items():
    before = states_after(model)
    moved = [(states_after(model, j) - before).norm(dim=2).mean(dim=0) for j in range(TOKENS)]
    moves[name] = torch.stack(moved).numpy()

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
top = max(matrix.max() for matrix in moves.values())
for axes, (name, matrix) in zip(panels, moves.items(), strict=True):
    shown = axes.imshow(np.ma.masked_equal(matrix, 0), cmap="cividis", vmin=0, vmax=top)
    axes.set_facecolor("white")
    axes.set_title(f"{name} attention")
    axes.set_xlabel("state at position")
    axes.set_xticks(range(TOKENS))
    axes.set_yticks(range(TOKENS))
panels[0].set_ylabel("changed token at position")
figure.colorbar(shown, ax=panels, label="how far the state moves\n(mean length; white: not at all)")
plt.show()
pd.concat({name: pd.DataFrame(matrix) for name, matrix in moves.items()}, axis=1).round(1)

# %%
last = {name: matrix[-1, :-1] for name, matrix in moves.items()}
print(f"last token changed, largest move of an earlier state: causal {last['causal'].max():.1f}, ", end="")
print(f"bidirectional {last['bidirectional'].max():.1f}")
seen_by = (moves["causal"] > 0).sum(axis=1)
print(f"causal: the first token reaches {seen_by[0]} states, the last {seen_by[-1]}")

# %% [markdown]
# The zeros are exact: under the causal mask no earlier state can know what comes later. Two things follow for
# making one vector of a text.
#
# ### Pooling and attention belong together
#
# Only the last state has seen everything, so a causal model is pooled there. The mean over all states counts the
# first token in every one of them and the last only in its own. The next cell measures how much each token moves
# the pooled vector; the end token is left out, since it is the same in every text.

# %%
shares = {}
for attention, model in pair.items():
    before = states_after(model)
    for pooling in ("mean", "last token"):
        pool = (lambda s: s.mean(dim=1)) if pooling == "mean" else (lambda s: s[:, -1])
        moved = [(pool(states_after(model, j)) - pool(before)).norm(dim=1).mean().item() for j in range(TOKENS - 1)]
        shares[f"{attention}, {pooling}"] = 100 * np.array(moved) / sum(moved)

# %%
figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
STYLES = [("#d55e00", "o", "-"), ("#0072b2", "s", "-"), ("#e69f00", "^", "--"), ("#009e73", "v", "--")]
for (name, share), (colour, marker, line) in zip(shares.items(), STYLES, strict=True):
    axes.plot(range(TOKENS - 1), share, color=colour, marker=marker, linestyle=line, label=name)
axes.set_xlabel("position of the changed token")
axes.set_ylabel("share of the influence (%)")
axes.set_ylim(bottom=0)
axes.legend(fontsize=8)
plt.show()
pd.DataFrame(shares).T.round(1)

# %%
ratio = {name: share[0] / share[-1] for name, share in shares.items()}
for name, times in ratio.items():
    print(f"{name}: the first token counts {times:.1f} times as much as the last before the end token")

# %% [markdown]
# How strong the tilt is depends on the weights, and training can work against it; that the mean leans to the front
# follows from the mask, because an early token sits in more of the averaged states. The last causal state may lean
# too, since early tokens also reach it through all the states between, but it has seen every token, and nothing
# else has. Under bidirectional attention every state has seen the whole text, so there is a free choice, and it is
# made in training.
#
# So a model comes as a set of three: weights, mask and pooling. Change one, and you have a model that nobody
# trained. Lesson 04 shows the other trap of the last token, padding on the wrong side.
#
# ## A detector
#
# The experiment above fits into one function. It asks no configuration and no class name, which can both be
# wrong: it changes the last token and looks.

# %%


@torch.inference_mode()
def is_causal(model: SentenceTransformer | torch.nn.Module, length: int = 12) -> bool:
    """Whether no hidden state depends on a later token.

    Args:
        model: a SentenceTransformer, or a transformers model that takes `input_ids`.
        length: tokens of the trial text.
    """
    encoder = model[0].auto_model if isinstance(model, SentenceTransformer) else model
    trial = torch.arange(200, 200 + length, device=encoder.device).repeat(2, 1)
    trial[1, -1] = 400
    states = encoder(input_ids=trial, attention_mask=torch.ones_like(trial)).last_hidden_state
    moved = (states[0] - states[1]).abs().amax(dim=1) / states.abs().max()
    assert moved[-1] > 1e-4, "the changed token itself must show"
    return bool((moved[:-1] < 1e-4).all())


# %% [markdown]
# Run it on whatever is loaded, on two more tiny models, and on two layers of some decoders in their true shape
# (twins: random weights; the vocabulary is cut down, which attention doesn't notice).

# %%


def two_layers(name: str, **settings: bool) -> torch.nn.Module:
    """The first two layers of a catalogue model's shape, in transformers' own class."""
    shape = twins.config(name, layers=2)
    shape.update({"vocab_size": 1000} | settings)
    return AutoModel.from_config(shape).eval()


trials = {
    f"all-MiniLM-L6-v2 ({weights(minilm).kind})": lambda: minilm,
    f"gte-small ({weights(gte).kind})": lambda: gte,
    "tiny Qwen2": lambda: pair["causal"],
    "tiny Qwen2, is_causal=False": lambda: pair["bidirectional"],
    "tiny Qwen3": lambda: tiny(Qwen3Config),
    "tiny Qwen3, is_causal=False": lambda: tiny(Qwen3Config, is_causal=False),
    "gte-modernbert-base (twin)": lambda: two_layers("gte-modernbert-base"),
    "embeddinggemma-300m (twin)": lambda: two_layers("embeddinggemma-300m"),
    "Qwen3-Embedding-0.6B (twin)": lambda: two_layers("Qwen3-Embedding-0.6B"),
    "gte-Qwen2-1.5B-instruct (twin)": lambda: two_layers("gte-Qwen2-1.5B-instruct"),
}
rows = []
for name, make in trials.items():
    model, start = make(), time.perf_counter()
    rows.append([name, is_causal(model), 1000 * (time.perf_counter() - start)])
pd.DataFrame(rows, columns=["model", "is_causal", "time (ms)"]).set_index("model").round(0)

# %% [markdown]
# Look at the last line. The catalogue says "bidirectional remote code", yet this twin is causal: it was built with
# transformers' own Qwen2 class, which knows nothing of the model's own code. That is exactly what happens to the
# real one.
#
# ## The silent failure
#
# A model repository can bring its own class: `config.json` names it under `auto_map`, a `.py` file holds it. Such
# code runs only with `trust_remote_code=True`. If transformers knows the `model_type` too, then without the flag
# it takes its own class and says nothing. To see it happen, here is a repository of that make in a folder: tiny
# weights, and a few lines of code that lift the mask.

# %%
OWN_CODE = """
from transformers import Qwen2Model

class BothWays(Qwen2Model):
    def __init__(self, config):
        config.is_causal = False
        super().__init__(config)
"""
scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(scratch.name) / "tiny_gte_qwen2"
pair["causal"].save_pretrained(folder)
AutoTokenizer.from_pretrained(bundled.minilm_folder()).save_pretrained(folder)
with bundled.quiet():
    SentenceTransformer(modules=[Transformer(str(folder)), Pooling(64, "lasttoken")]).save_pretrained(str(folder))
(folder / "modeling_own.py").write_text(OWN_CODE, encoding="utf-8")
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
config["auto_map"] = {"AutoModel": "modeling_own.BothWays"}
(folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
print({key: config[key] for key in ("model_type", "auto_map")})

# %% [markdown]
# **Decide, then run:** which of these two lines warns you?

# %%
silent = SentenceTransformer(str(folder), local_files_only=True)
trusted = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=True)
for name, model in {"without the flag": silent, "trust_remote_code=True": trusted}.items():
    vector = model.encode(texts[0])
    print(f"{name}: {type(model[0].auto_model).__name__}, {vector.shape}, is_causal {is_causal(model)}")
apart = silent.similarity_pairwise(silent.encode(texts), trusted.encode(texts))
print(f"cosine between the two models' vectors of the same text: {', '.join(f'{c:.2f}' for c in apart.tolist())}")

# %% [markdown]
# Neither. Both load, both give vectors of the right shape, and they are different models. No test of shapes or of unit
# length finds it; a retrieval test does, and the detector does before you encode anything. What it costs on the
# real 7B model was reported when mteb mended its loader. The report changed three things at once, so read its two
# figures as "wrongly loaded" and "rightly loaded", not as the price of the mask alone.

# %%
PUBLISHED = {
    "source": "mteb pull request 4935 (2026-07-15), reasoning-retrieval tasks",
    "model": "Alibaba-NLP/gte-Qwen2-7B-instruct",
    "wrong": {"about": 0.07, "how": "float16, no trust_remote_code, older transformers"},
    "right": {"about": 0.51, "how": "bfloat16, trust_remote_code=True, use_cache=False"},
}
print(f"{PUBLISHED['model']}, nDCG@10 as published in {PUBLISHED['source']}:")
for kind in ("wrong", "right"):
    print(f"  about {PUBLISHED[kind]['about']} with {PUBLISHED[kind]['how']}")

# %% [markdown]
# The third change has its own reason. That model's code asks the cache of a language model for a method that newer
# versions of transformers (from `4.56`) have removed, so with the flag alone it crashes. Embedding needs no cache:
# `config_kwargs={"use_cache": False}` goes round it. Recent versions of Sentence Transformers switch the cache off
# by themselves; the argument does no harm there, and with older ones it is needed.

# %%
print("DynamicCache has get_usable_length:", hasattr(DynamicCache, "get_usable_length"))
print("use_cache in the model loaded above:", trusted[0].config.use_cache, "\n")
print(models.code("Alibaba-NLP/gte-Qwen2-1.5B-instruct"))

# %% [markdown]
# Remote code is a program from the internet that runs with your rights. Read it, pin the revision, and then pass the
# flag yourself. And since recent versions of transformers read `is_causal` from a configuration too, as you saw
# above, the same files can run one way under one version and the other way under the next. Don't reason about it:
# run the detector once for each model and each upgrade.
#
# ## Instructions
#
# The call above also sets the prompt. gte-Qwen2 and Qwen3-Embedding take a *task instruction* before a query:
# one sentence that says what is asked for. Documents stay bare. The two forms differ by one space:

# %%
form = {name: catalog.card(name).query_prompt.replace("\\n", "\n") for name in FAMILY[-3:]}
for name, text in form.items():
    print(f"{name:26} {text!r}")
older, newer = form["gte-Qwen2-1.5B-instruct"], form["Qwen3-Embedding-0.6B"]
assert older == newer + " "
print("documents:", {catalog.card(name).document_prompt for name in form})

# %% [markdown]
# Is a space worth a sentence? Qwen's tokenizers work on bytes and keep the space with the word behind it. The cell
# trains a small tokenizer of that kind on the course's texts and lets it read a query in both forms; `Ġ` is how
# such tokenizers print a space.

# %%
byte_level = Tokenizer(BPE())
byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
byte_level.train_from_iterator(data.texts(), trainers.BpeTrainer(vocab_size=3000, show_progress=False))
ends = {"with a space": "Query: where is my parcel", "without": "Query:where is my parcel"}
pieces = {name: byte_level.encode(text).tokens for name, text in ends.items()}
for name, tokens in pieces.items():
    print(f"{name}: {' | '.join(tokens)}")
print("same tokens:", pieces["with a space"] == pieces["without"])

# %% [markdown]
# The first word of every query becomes another token, with another vector: use each model's own form.
#
# In Sentence Transformers the instruction is a *prompt*. `encode_query` takes the model's own, or the one that
# you pass. Here a stand-in of gte-Qwen2 (MiniLM inside, unless you loaded real weights) shows the mechanics, first
# by hand, then with the library:

# %%
try:
    instructed = load("gte-Qwen2-1.5B-instruct", source=source, trust_remote_code=trust_remote_code)
except CourseError as error:
    print(error)
    instructed = load("gte-Qwen2-1.5B-instruct", source="stand-in")
question = "my parcel has not arrived"
by_hand = instructed.encode(older.replace("{task}", catalog.DEFAULT_TASK) + question)
assert np.allclose(by_hand, instructed.encode_query(question), atol=1e-5)
print("by hand and encode_query agree:", repr(instructed.prompts["query"][:40] + "..."))

# %% [markdown]
# What changes when the instruction changes? **Decide, then run:** the query's vector, the documents' vectors, or
# both?

# %%
TASKS = {
    "web search": catalog.DEFAULT_TASK,
    "same question": "Given a question, find other questions that ask the same",
    "contradiction": "Given a claim, find passages that contradict it",
}
passages = list(search.corpus.values())[:40]
stored = instructed.encode_document(passages)
rows = []
for name, task in TASKS.items():
    prompt = older.replace("{task}", task)
    vector = instructed.encode_query(question, prompt=prompt)
    best = instructed.similarity(vector, stored)[0].argsort(descending=True)[:10].tolist()
    rows.append([name, vector, best, len(instructed.tokenizer.tokenize(prompt))])
first = rows[0]
table = {
    "cosine with the first": [instructed.similarity(first[1], row[1]).item() for row in rows],
    "of its ten best, the same": [len({*first[2]} & {*row[2]}) for row in rows],
    "tokens of the instruction": [row[3] for row in rows],
}
pd.DataFrame(table, index=list(TASKS)).round(3)

# %% [markdown]
# Only the query moves. No instruction goes into a document, so `stored` was made once and served all three: you
# can index once and ask in several ways. On a stand-in the moves mean
# nothing, for MiniLM never learned to read instructions; a model trained on them moves the query towards what the
# task asks for. The tokens in the last column are computed anew with every query.
#
# ## What it costs
#
# Parameters are counted on twins, which have the exact shape and random weights. Speed was measured on twins
# before, on a CPU; "unknown" wasn't measured. Of the largest only the first layers were run, and the time of the
# others was extrapolated (`layers_run` in `helpers/facts/measured_cpu.csv`).

# %%
speed = twins.measured().query("device == 'cpu' and dtype == 'float32'").drop_duplicates("hub_id").set_index("hub_id")
cost = pd.DataFrame(index=pd.Index(FAMILY, name="model"))
cost["parameters (M)"] = [twins.parameter_count(name) / 1e6 for name in FAMILY]
cost["weights, float32 (GB)"] = 4 * cost["parameters (M)"] / 1e3
cost["weights, bfloat16 (GB)"] = 2 * cost["parameters (M)"] / 1e3
cost["dims"] = [c.dims for c in cards.values()]
cost["a million vectors, float32 (GB)"] = 4 * cost["dims"] / 1e3
cost["CPU peak memory (GB)"] = [speed["peak_mb"].get(c.hub_id, np.nan) / 1e3 for c in cards.values()]
cost["CPU tokens/s"] = [speed["tokens_per_s"].get(c.hub_id, np.nan) for c in cards.values()]
cost.round(2).fillna("unknown")

# %%
small, large = cost.loc["gte-base"], cost.loc["gte-Qwen2-1.5B-instruct"]
print(f"gte-Qwen2-1.5B beside gte-base: {large['parameters (M)'] / small['parameters (M)']:.0f} times the parameters,")
gigabytes = "weights, float32 (GB)"
print(f"{large[gigabytes]:.1f} GB instead of {small[gigabytes]:.1f} GB of weights in float32, ", end="")
print(f"{large['dims'] / small['dims']:.0f} times the vector.")
if np.isfinite(large["CPU tokens/s"]) and np.isfinite(small["CPU tokens/s"]):
    how = speed.loc[cards["gte-base"].hub_id]
    print(f"{how['hardware']}, threads: {how['threads']}, {how['tokens']} tokens a text: ", end="")
    print(f"{large['CPU tokens/s']:.0f} tokens/s instead of {small['CPU tokens/s']:.0f}, ", end="")
    print(f"a factor of {small['CPU tokens/s'] / large['CPU tokens/s']:.0f}.")
gain = cards["gte-Qwen2-1.5B-instruct"].eng_v2_computed_mean_task - cards["gte-base"].eng_v2_computed_mean_task
print(f"In return, on MTEB(eng, v2), both computed from mteb's results: {gain:+.2f} points.")

# %% [markdown]
# The scores' difference has no interval: published means carry none. Whether it holds on your texts is lesson 14's
# question.
#
# ## Recap
#
# - **Choose**: gte-small, base and large and gte-modernbert-base are English and take bare text, with 512 or 8192
#   tokens; gte-multilingual-base is for other languages; the Qwen models want an instruction before the query and
#   nothing before a document. A foreign prefix can cost a lot and gains nothing you could count on.
# - **Explain**: under a causal mask only the last state has seen the text, so it is the one to take; a mean leans
#   towards the front. Weights, mask and pooling are one set.
# - **Catch**: change the last token and see whether an earlier state moves. Without `trust_remote_code=True`
#   gte-Qwen2 loads, answers and is another model.
#
# Test yourself: Why does a check of shapes and lengths not find the wrong mask? Why is the mean of causal states
# unfair to the end of a text? You change the instruction of a search in production: what must you encode anew?
#
# Now the exercise: [scores, instructions, masks, a detector](../exercises/05_gte/05_gte.ipynb)
#
# Sources: Li et al. 2023, *Towards General Text Embeddings with Multi-stage Contrastive Learning*
# ([arXiv](https://arxiv.org/abs/2308.03281)); Zhang et al. 2024, *mGTE*
# ([arXiv](https://arxiv.org/abs/2407.19669)); Zhang et al. 2025, *Qwen3 Embedding*
# ([arXiv](https://arxiv.org/abs/2506.05176)); mteb's
# [pull request 4935](https://github.com/embeddings-benchmark/mteb/pull/4935); the catalogue
# `helpers/facts/models.csv` with a source for each figure.
