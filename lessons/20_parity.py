# %% [markdown] tags=["lesson"]
# # 20 · Is it the model?
#
# After this lesson you can
# - **examine** a server, a runtime or a folder: does it give the vectors of the model that it is named after,
# - **read** what is wrong from which texts deviate,
# - **set** such an examination before a deployment, in CI.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# The **reference** is the real model, or its recorded vectors; whatever is examined is held against it.
#
# The same model gives other vectors in another runtime more often than one would think: a closing token lost, pooling
# of another kind, texts cut at another length. Nothing crashes, and a search with such vectors looks like a bad search.
# This notebook is the tool as well: `make parity URL=http://127.0.0.1:8080 MODEL=all-MiniLM-L6-v2` fills the next cell
# and ends with an error where something is wrong. Without parameters it examines a model with a planted fault.

# %% tags=["parameters"]
url: str = ""  # of a server that speaks OpenAI's, TEI's or Ollama's protocol
model: str = "all-MiniLM-L6-v2"  # the model that it should be; it is also asked for by this name
served_as: str = ""  # the name by which the server knows it, where that is another
route: str = "auto"  # openai, tei, ollama, vllm, or auto: the first that the server has
model_b: str = ""  # instead of a server, a folder or a name: is it `model`?
output_dir: str = "results/parity"  # for the report, as text and as JSON

# %% tags=["silent"]
import json
import os
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from helpers import load, parity
from helpers.parity.examining import SAME
from helpers.parity.reference import Variant

reference = parity.reference_of(model)
kind = type(reference).__name__.lower()
print(f"reference: {model}, {kind}, {reference.dims} dimensions, {reference.pooling} pooling, {reference.limit} tokens")

# %% [markdown] tags=["lesson"]
# ## Texts that tell faults apart
#
# What happens to *every* text (special tokens, pooling, prompts) is looked for on plain ones, in lower case, singly and
# in pairs. What happens to *some* texts (capitals, accents, other scripts, long ones) is looked for in those. Lengths,
# order and batches need no model at all. What no fault explains is rounding, or other weights. **Before you look:** the
# model below reads texts without their closing token. Which texts will deviate?


# %% tags=["silent"]
def sick(texts: list[str], side: str = "") -> object:
    """The model without its closing token."""
    return reference.vectors(texts, Variant(closing=False), side)


if url:
    ask = parity.endpoint(
        url, served_as or model, key=os.environ.get("PARITY_KEY", ""), route=route, prompts=reference.prompts
    )
else:
    ask = parity.of_model(load(model_b, device="cpu")) if model_b else sick
told = parity.examine(ask, reference)

# %%
print(told)

# %%
table = pd.DataFrame({"1 - cosine to the right vector": told.deviation}).sort_values(
    by="1 - cosine to the right vector"
)
print(f"two honest runtimes of one precision differ by less than {SAME:.0e}")
table.style.format("{:.1e}")

# %% [markdown] tags=["lesson"]
# A lost token is lost from *every* text, so every text deviates. A cut would have spared all but the long ones, a
# tokenizer all but those with what it reads otherwise.
#
# ## How it finds out
#
# The reference can be taken apart: it can be run without a token, with another pooling, cut elsewhere. A
# fault is named if the vectors under that fault are those that came back. Where the weights aren't here, recorded
# vectors stand in for single faults (`helpers/facts/parity/`). **Decide, then run:** a model in int8 against the one in
# float32: the same model, or not?

# %% tags=["lesson"]
if not url and not model_b and model == "all-MiniLM-L6-v2":
    for name in ("all-MiniLM-L6-v2-int8", "all-MiniLM-L6-v2-pca-128"):
        print(f"{name}:\n{parity.examine(parity.of_model(load(name, device='cpu')), reference)}\n")

# %% [markdown] tags=["lesson"]
# In int8 some of the nearest neighbours among these few texts change places, since many are about as near as the next;
# what that means for a search is measured with a search. Rounding is no fault if it was meant. So hold a quantised
# server against a reference of the same precision, or take "8 bits" for an answer and measure what the ranking loses
# (lesson 10).

# %% tags=["silent"]
folder = Path(output_dir)
folder.mkdir(parents=True, exist_ok=True)
kept = asdict(told) | {"passed": told.passed, "model": model, "examined": url or model_b or "a planted fault"}
(folder / "parity.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
(folder / "parity.txt").write_text(f"{told}\n", encoding="utf-8")
print(f"{folder.as_posix()}/parity.json, parity.txt")

# %% [markdown] tags=["lesson"]
# ## Recap
#
# - **Examine**: `make parity URL=... MODEL=...`; the key comes from `PARITY_KEY`. `MODEL_B=folder` examines a folder.
# - **Read**: what deviates everywhere is tokens, pooling, prompt or weights; what deviates somewhere is tokenizer or
#   cut.
# - **Set**: it ends with an error where something is wrong, so it can stand before a deployment.
#
# Test yourself: A server's vectors agree on short texts and not on long ones: what do you ask it? All vectors deviate
# by as much as rounding to one byte would: what else could it be? Two models have the same number of dimensions: what
# does that say?
#
# The commands for each server are in [docs/parity.md](../docs/parity.md).
#
# Sources: llama.cpp issues [14280](https://github.com/ggml-org/llama.cpp/issues/14280) (opening and closing tokens) and
# [19401](https://github.com/ggml-org/llama.cpp/issues/19401) (long texts); Ollama issue
# [14259](https://github.com/ollama/ollama/issues/14259) (a cut below the stated limit).
