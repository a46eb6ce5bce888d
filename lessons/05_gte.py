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
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, AutoTokenizer, Qwen2Config, Qwen3Config

from helpers import benchmark, bundled, catalog, data, load, models, weights
from helpers.errors import CourseError
from helpers.measure import claims, metrics
from helpers.models import twins

minilm = load("all-MiniLM-L6-v2")
gte = load("thenlper/gte-small", source=source)
print(f"device {gte.device}, transformers {transformers.__version__}, gte-small: {weights(gte).kind}")

# %% [markdown]
# ## The family
#
# All from the catalogue. The last row, Qwen3-Embedding, carries another name but comes from the same company and is
# the successor of gte-Qwen2. Scores stand in one column for each benchmark, since each is a mean over other tasks
# (computed from mteb's public results; nan where tasks are missing). Compare down a column, never across.

# %%
FAMILY = [
    "gte-small", "gte-base", "gte-large", "gte-modernbert-base", "gte-multilingual-base", "gte-Qwen2-1.5B-instruct",
    "gte-Qwen2-7B-instruct", "Qwen3-Embedding-0.6B",
]  # fmt: skip
cards = {name: catalog.card(name) for name in FAMILY}
table = {
    "dims": [c.dims for c in cards.values()],
    "tokens": [c.max_tokens for c in cards.values()],
    "parameters (M)": [round(c.params_total / 1e6) for c in cards.values()],
    "languages": [c.languages_mteb for c in cards.values()],
    "pooling": [c.pooling for c in cards.values()],
    "MTEB(eng, v2)": [c.eng_v2_computed_mean_task for c in cards.values()],
    "MTEB(Multilingual, v2)": [c.multilingual_v2_computed_mean_task for c in cards.values()],
}
pd.DataFrame(table, index=FAMILY).round(2)

# %% [markdown]
# Read three things off it. The first four are English only, whatever you may have heard of "strong multilingual": for
# other languages `gte-multilingual-base` is the family's small encoder, and the Qwen models are larger (lesson 04
# shows what an English vocabulary does to them). `gte-modernbert-base` is the newer English encoder at about the size
# of `gte-base`, and reads far more. And pooling changes twice, from the mean to the first token (`cls`) to the last.
#
# ## No prefix means no prefix
#
# E5 wants `query: ` before a question, BGE an instruction, nomic a task name. The GTE encoders were trained on bare
# text, and so was MiniLM. Their prompts are empty, and the three ways to encode agree:

# %%
texts = ["Machine learning finds patterns in data.", "Statistical models can be fitted to examples automatically."]
ways = [encode(texts) for encode in (gte.encode, gte.encode_query, gte.encode_document)]
assert all(np.allclose(ways[0], other, atol=1e-6) for other in ways[1:])
similarity = gte.similarity_pairwise(ways[0][:1], ways[0][1:])
print(f"prompts {gte.prompts}; similarity {similarity.item():.4f} ({weights(gte).kind} weights)\n")
print(models.code("thenlper/gte-small"))

# %% [markdown]
# People who change models often keep the old model's prefixes. What does that cost? It needs real weights to
# measure: GTE's own where they could be loaded, else MiniLM's, which is real and has no prefix either. The cell
# takes each query's nDCG@10 (how high the right documents stand in the first ten, 1 is perfect) with other models'
# prefixes, straight from the catalogue; on the course's texts and on scipy's docstrings, since one set of texts is one
# set. (The first 128 tokens of a document are read.)

# %%
judged_name, judged = ("gte-small", gte) if weights(gte).real else ("all-MiniLM-L6-v2", minilm)
judged.max_seq_length = 128
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=150)}


@cache
def encoded(side: str, prefix: str, where: str) -> np.ndarray:
    """Unit vectors of all queries or of all documents, each text with the prefix before it."""
    texts = list(getattr(searches[where], side).values())
    return judged.encode(texts, prompt=prefix, normalize_embeddings=True)


def ndcg(before_query: str, before_document: str, where: str) -> np.ndarray:
    """nDCG@10 of each query."""
    both = encoded("queries", before_query, where), encoded("corpus", before_document, where)
    return benchmark.ndcg(searches[where], *both)


# %% [markdown]
# The same queries are judged twice, so their differences can be averaged: a *paired* comparison. It is far
# sharper than two separate intervals, because hard queries are hard both times. **Decide, then run:** is a foreign
# prefix worse on one side or on both?

# %%
FOREIGN = {
    "e5's on queries": ("e5-base-v2", True, False),
    "bge's on queries": ("bge-base-en-v1.5", True, False),
    "nomic's on queries": ("nomic-embed-text-v1.5", True, False),
    "nomic's on documents": ("nomic-embed-text-v1.5", False, True),
    "nomic's on both": ("nomic-embed-text-v1.5", True, True),
    "gte-Qwen2's on queries": ("gte-Qwen2-1.5B-instruct", True, False),
}
changes = {}
for label, (name, on_queries, on_documents) in FOREIGN.items():
    prompts = catalog.card(name).prompts
    sides = prompts["query"] if on_queries else "", prompts["document"] if on_documents else ""
    changes[label] = {w: metrics.estimate(metrics.mean, ndcg(*sides, w) - ndcg("", "", w)) for w in searches}
pd.DataFrame(changes).T.rename_axis(f"change of {judged_name}'s nDCG@10")

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for shift, where, colour in zip((-0.12, 0.12), searches, ("#0072b2", "#d55e00"), strict=True):
    found = [changes[label][where] for label in FOREIGN]
    error = np.array([[e.value - e.low, e.high - e.value] for e in found]).T
    places = np.arange(len(found)) + shift
    axes.errorbar([e.value for e in found], places, xerr=error, fmt="o", capsize=3, color=colour, label=where)
axes.axvline(0, color="grey", linestyle="--", label="bare text")
axes.set_yticks(range(len(FOREIGN)), list(FOREIGN))
axes.invert_yaxis()
axes.set_xlabel(f"change in nDCG@10 of {judged_name} (mean over queries, 95% interval)")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# A prefix is a handful of extra words that go into every mean, the same in each text, and draw all texts towards one
# place. A short, neutral one can go unnoticed in a test of this size. It wasn't in the training, so nothing promises a
# gain. When you change the model, change the prompts with it: with `prompts` in the model's own files and
# `encode_query` in your code, you needn't think of it.
#
# ## Two ways to look: causal and bidirectional
#
# BERT and its kin are *encoders*: each token looks at all others. A language model such as Qwen2 is a *decoder*:
# it is trained to guess the next token, so a token may only look back. That rule is the *causal mask*. gte-Qwen2
# took the decoder's weights and lifted the mask; Qwen3-Embedding kept it.
#
# Two tiny Qwen2 models with the same random weights: one as it comes, one with `is_causal=False` in its
# configuration, which recent versions of transformers honour in their decoder classes. Random weights say nothing
# of quality, but who can see whom is a matter of wiring, not of weights.

# %%
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "initializer_range": 0.2}
SHAPE = {"vocab_size": 30522, "hidden_size": 64, "intermediate_size": 128, "pad_token_id": 0} | HEADS


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
ids = torch.randint(1000, 30000, (TEXTS, TOKENS), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def moves(model: torch.nn.Module) -> np.ndarray:
    """(changed token, state): how far the state moves when that token becomes another, mean over the texts."""
    before, found = model(input_ids=ids).last_hidden_state, []
    for place in range(TOKENS):
        other = ids.clone()
        other[:, place] = torch.randint(1000, 30000, (TEXTS,), generator=torch.Generator().manual_seed(2))
        found.append((model(input_ids=other).last_hidden_state - before).norm(dim=2).mean(dim=0))
    return torch.stack(found).numpy()


moved = {name: moves(model) for name, model in pair.items()}

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
top = max(matrix.max() for matrix in moved.values())
for axes, (name, matrix) in zip(panels, moved.items(), strict=True):
    shown = axes.imshow(np.ma.masked_equal(matrix, 0), cmap="cividis", vmin=0, vmax=top)
    axes.set_facecolor("white")
    axes.set_title(f"{name} attention")
    axes.set_xlabel("state at position")
    axes.set_xticks(range(TOKENS))
    axes.set_yticks(range(TOKENS))
panels[0].set_ylabel("changed token at position")
figure.colorbar(shown, ax=panels, label="how far the state moves\n(mean length; white: not at all)")
plt.show()
last = {name: matrix[-1, :-1].max() for name, matrix in moved.items()}
print("last token changed, largest move of an earlier state:", {name: f"{value:.1f}" for name, value in last.items()})

# %% [markdown]
# The zeros are exact: under the causal mask no earlier state can know what comes later. So only the last state has seen
# everything, and a causal model is pooled there. The mean over all states counts the first token in every one of them
# and the last only in its own; how far that tilts a vector is up to the weights and the length. Under bidirectional
# attention every state has seen the whole text, so there is a free choice, and it is made in training.
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
    "tiny Qwen3": lambda: tiny(Qwen3Config),
    "tiny Qwen3, is_causal=False": lambda: tiny(Qwen3Config, is_causal=False),
    "gte-modernbert-base (twin)": lambda: two_layers("gte-modernbert-base"),
    "Qwen3-Embedding-0.6B (twin)": lambda: two_layers("Qwen3-Embedding-0.6B"),
    "gte-Qwen2-1.5B-instruct (twin)": lambda: two_layers("gte-Qwen2-1.5B-instruct"),
}
pd.Series({name: is_causal(make()) for name, make in trials.items()}, name="is_causal").to_frame()

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

# %%
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
# length finds it; a retrieval test does, and the detector does before you encode anything.
#
# The real one has a second half. gte-Qwen2's vector is that of the token that closes a text, and the mark
# `<|endoftext|>` is written by the repository's own tokenizer code, not by its `tokenizer.json` (so Hugging Face's
# server, text-embeddings-inference, adds it by itself for this model). Without the flag, the vector may be taken from
# the last word instead. The detector above can't see that; this one can, in any tokenizer:


# %%
def end_mark(tokenizer) -> str | None:
    """The special token that closes every text, or None where texts end as they like."""
    ends = {tokenizer(text)["input_ids"][-1] for text in ("a", "two words", "three of them")}
    return (
        tokenizer.convert_ids_to_tokens(ends.pop())
        if len(ends) == 1 and ends <= set(tokenizer.all_special_ids)
        else None
    )


bare = AutoTokenizer.from_pretrained(bundled.minilm_folder())
bare.backend_tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 101)])
print("MiniLM's tokenizer closes with", end_mark(minilm.tokenizer), "· without its template with", end_mark(bare))

# %% [markdown]
# What a wrongly loaded gte-Qwen2 costs was reported when mteb mended its loader. The report changed several things at
# once (the flag with all that it brings, the dtype, the cache, perhaps the version of transformers), so read its two
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
print("\n" + models.code("Alibaba-NLP/gte-Qwen2-1.5B-instruct"))

# %% [markdown]
# The call switches the cache off, since that model's code asks it for a method that newer versions of transformers have
# removed; embedding needs none. Remote code is a program from the internet that runs with your rights: read it, pin the
# revision, and then pass the flag yourself. And since recent versions of transformers read `is_causal` from a
# configuration too, the same files can run one way under one version and the other way under the next. Don't reason
# about it: run both detectors once for each model and each upgrade.
#
# ## Instructions
#
# gte-Qwen2 and Qwen3-Embedding take a *task instruction* before a query: one sentence that says what is asked for.
# Documents stay bare. The two forms differ by one space, after `Query:`, which gte-Qwen2 has and Qwen3-Embedding has
# not: use each model's own form. Here a stand-in of gte-Qwen2 (MiniLM inside, unless you loaded real weights) shows
# the mechanics, by hand and by the library:

# %%
older, newer = (
    catalog.card(name).query_prompt.replace("\\n", "\n") for name in ("gte-Qwen2-1.5B-instruct", "Qwen3-Embedding-0.6B")
)
print(f"{older!r}\n{newer!r}")
assert older == newer + " "
try:
    instructed = load("gte-Qwen2-1.5B-instruct", source=source, trust_remote_code=trust_remote_code)
except CourseError as error:
    print(error)
    instructed = load("gte-Qwen2-1.5B-instruct", source="stand-in")
question = "my parcel has not arrived"
by_hand = instructed.encode(older.replace("{task}", catalog.DEFAULT_TASK) + question)
assert np.allclose(by_hand, instructed.encode_query(question), atol=1e-5)

# %% [markdown]
# What changes when the instruction changes? **Decide, then run:** the query's vector, the documents' vectors, or
# both?

# %%
TASKS = {
    "web search": catalog.DEFAULT_TASK,
    "same question": "Given a question, find other questions that ask the same",
    "contradiction": "Given a claim, find passages that contradict it",
}
stored = instructed.encode_document(list(searches["the course's texts"].corpus.values())[:40])
prompts = {name: older.replace("{task}", task) for name, task in TASKS.items()}
asked = [instructed.encode_query(question, prompt=prompt) for prompt in prompts.values()]
best = [instructed.similarity(v, stored)[0].argsort(descending=True)[:10].tolist() for v in asked]
table = {
    "cosine with the first": [instructed.similarity(asked[0], v).item() for v in asked],
    "of its ten best, the same": [len({*best[0]} & {*each}) for each in best],
    "tokens of the instruction": [len(instructed.tokenizer.tokenize(p)) for p in prompts.values()],
}
pd.DataFrame(table, index=list(TASKS)).round(3)

# %% [markdown]
# Only the query moves. No instruction goes into a document, so `stored` was made once and served all three: you
# can index once and ask in several ways. On a stand-in the moves mean
# nothing, for MiniLM never learned to read instructions; a model trained on them moves the query towards what the
# task asks for. The tokens in the last column are computed anew with every query.
#
# ## Recap
#
# - **Choose**: gte-small, base and large and gte-modernbert-base are English and take bare text, with 512 or 8192
#   tokens; gte-multilingual-base is the encoder for other languages; the Qwen models want an instruction before the
#   query and nothing before a document.
# - **Explain**: under a causal mask only the last state has seen the text, so it is the one to take. Weights, mask and
#   pooling are one set.
# - **Catch**: change the last token and see whether an earlier state moves; look whether every text ends with the same
#   mark. A model with code of its own may load without it, answer, and be another model.
#
# What was found, each sentence chosen by its result:

# %%
claims.recap(
    *(
        claims.Claim(
            f"foreign-{label.split()[0][:-2].lower()}-{label.split()[-1]}",
            f"{judged_name} with {label.replace(' on', ' prefix on')}",
            "the same on bare text",
            "nDCG@10",
            changes[label],
        )
        for label in FOREIGN
    )
)

# %% [markdown]
# Test yourself: Why does a check of shapes and lengths not find the wrong mask? Why is the mean of causal states
# unfair to the end of a text? You change the instruction of a search in production: what must you encode anew?
#
# Now the exercise: [scores, instructions, masks, a detector](../exercises/05_gte/05_gte.ipynb)
#
# ## For a second reading
#
# **The mask by hand.** Attention gives each token a weighted mean of the others' values. To forbid the future, set its
# scores to minus infinity before the softmax. The careless version sets them to zero:

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
# **Other languages.** The family's answer is another model, with most of its parameters in the vocabulary:

# %%
many = cards["gte-multilingual-base"]
print(
    f"{many.hub_id}: {many.params_total / 1e6:.0f}M parameters, {many.params_embedding / 1e6:.0f}M in the vocabulary\n"
)
print(models.code(many.hub_id))

# %% [markdown]
# **What it costs.** Parameters are counted on twins, which have the exact shape and random weights. Speed was measured
# on twins before, on a CPU; "unknown" wasn't measured. Of the largest only the first layers were run, and the time of
# the others was extrapolated (`layers_run` in `helpers/facts/measured_cpu.csv`).

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

# %% [markdown]
# Sources: Li et al. 2023, *Towards General Text Embeddings with Multi-stage Contrastive Learning*
# ([arXiv](https://arxiv.org/abs/2308.03281)); Zhang et al. 2024, *mGTE* ([arXiv](https://arxiv.org/abs/2407.19669));
# Zhang et al. 2025, *Qwen3 Embedding* ([arXiv](https://arxiv.org/abs/2506.05176)); mteb's [pull request
# 4935](https://github.com/embeddings-benchmark/mteb/pull/4935); the catalogue `helpers/facts/models.csv` with a source
# for each figure.
