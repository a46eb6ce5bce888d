"""Train the two adapters of lesson 04, alike in everything but the temperature of the loss.

    python -m tools.train_temperature

One core, a few minutes each. Positives are a sentence of one of the course's unlabelled texts and the
rest of that text (the inverse cloze task, Lee et al. 2019), negatives are the other texts of the batch;
pairs and retrieval, which judge the result, are never read. Writes `helpers/adapters/`.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

from helpers import data
from helpers.models import adapters

BASE = "sentence-transformers/all-MiniLM-L6-v2"
SEED = 4
STEPS = 150
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WARMUP_STEPS = 15
RANK, ALPHA = 8, 16
TARGETS = ("query", "key", "value", "dense")  # every linear layer of the encoder
EXCLUDED = ("pooler.dense",)  # BERT has one more, which mean pooling never uses
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
MIN_WORDS = 4


def sentences() -> list[list[str]]:
    """The sentences of each unlabelled text that has at least two of them."""
    split = [[s for s in SENTENCE_END.split(text) if len(s.split()) >= MIN_WORDS] for text in data.texts()]
    return [parts for parts in split if len(parts) >= 2]


def batches(seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Endless batches of (sentences, rests of their texts); each epoch draws other sentences."""
    draw = np.random.default_rng(seed)
    texts = sentences()
    while True:
        order = draw.permutation(len(texts))
        for first in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            queries, passages = [], []
            for number in order[first : first + BATCH_SIZE]:
                parts = texts[number]
                held_out = int(draw.integers(len(parts)))
                queries.append(parts[held_out])
                passages.append(" ".join(parts[:held_out] + parts[held_out + 1 :]))
            yield queries, passages


def embed(model: SentenceTransformer, texts: list[str], side: str) -> torch.Tensor:
    """(texts, 384) unit vectors with gradients, under E5's prefix of a side."""
    features = model.preprocess(texts, prompt=adapters.PROMPTS[side])
    vectors: torch.Tensor = model(features)["sentence_embedding"]
    return vectors


def adapter() -> LoraConfig:
    """The adapter before training."""
    return LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=list(TARGETS),
        exclude_modules=list(EXCLUDED),
        task_type="FEATURE_EXTRACTION",
    )


def train(temperature: float) -> SentenceTransformer:
    """One model; its random numbers are the same at every temperature."""
    torch.manual_seed(SEED)
    model = adapters.start()
    model.add_adapter(adapter())
    model.eval()  # no dropout: on a CPU it doubles the time
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, (STEPS - step) / (STEPS - WARMUP_STEPS))
    )
    stream = batches(SEED)
    for _ in (bar := tqdm(range(STEPS), desc=f"temperature {temperature:g}", unit="step")):
        queries, passages = next(stream)
        cosines = embed(model, queries, "query") @ embed(model, passages, "document").T
        loss = torch.nn.functional.cross_entropy(cosines / temperature, torch.arange(BATCH_SIZE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", mean_cosine=f"{cosines.mean().item():.3f}")
    return model.eval()


def write(model: SentenceTransformer, temperature: float) -> None:
    """The adapter's two files, its base named as on the hub and not as a path of this machine."""
    folder = adapters.folder(temperature)
    shutil.rmtree(folder, ignore_errors=True)
    encoder: Any = model[0]
    encoder.model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)
    path = folder / "adapter_config.json"
    named = {"base_model_name_or_path": BASE, "target_modules": sorted(TARGETS)}  # peft writes a set in any order
    config = json.loads(path.read_text(encoding="utf-8")) | named
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def readme() -> str:
    """What the folder holds and how it was made, with this script's own numbers."""
    recipe = {
        "start": f"the first {adapters.LAYERS} layers of {BASE}, mean pooling, unit vectors",
        "adapter": f"LoRA of rank {RANK}, alpha {ALPHA}, no dropout, on every linear layer ({', '.join(TARGETS)})",
        "loss": "InfoNCE with in-batch negatives: cross-entropy over cosines / temperature",
        "temperatures": ", ".join(map(str, adapters.TEMPERATURES)),
        "prefixes": " and ".join(f"`{prefix}`" for prefix in adapters.PROMPTS.values()),
        "data": f"{len(sentences())} of the course's unlabelled texts (`datasets/texts.jsonl`): a sentence as query, "
        "the rest of its text as passage; never `pairs.csv` or `retrieval/`",
        "batch size": BATCH_SIZE,
        "steps": STEPS,
        "learning rate": f"{LEARNING_RATE:g}, {WARMUP_STEPS} steps of warm-up, then linear to 0 (AdamW, no decay)",
        "tokens a text": f"at most {adapters.MAX_TOKENS}, in training and in use",
        "seed": SEED,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in recipe.items())
    return README.format(rows=rows)


README = """# Two adapters that differ in their temperature

Written by `python -m tools.train_temperature`, loaded by `helpers.adapters.load`, used in lesson 04. They show
what the temperature of a loss does to cosines; they are weak models, and none of the E5 family.

| part of the recipe | value, the same for both but for the temperature |
|---|---|
{rows}

Licence: Apache 2.0, as the model they start from; the texts are CC BY 4.0.
"""


def main() -> None:
    """Train and write the adapters, or those of the temperatures named on the command line."""
    torch.set_num_threads(1)
    chosen = [float(argument) for argument in sys.argv[1:]] or list(adapters.TEMPERATURES)
    for temperature in chosen:
        write(train(temperature), temperature)
    (adapters.FOLDER / "README.md").write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    main()
