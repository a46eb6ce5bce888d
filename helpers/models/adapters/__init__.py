"""Two small models that differ in one thing: the temperature of the loss they were trained with.

Both start from the first three layers of all-MiniLM-L6-v2, which nobody trained for mean pooling, so
that their vectors are all alike. A LoRA adapter each (Hu et al. 2021) makes an embedding model of
them, with E5's prefixes and E5's loss. `python -m tools.train_temperature` trains them; the README
beside this file holds the recipe.
"""

from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from sentence_transformers import SentenceTransformer

from helpers import bundled, models
from helpers.errors import CourseError
from helpers.files import sha256

FOLDER = Path(__file__).parent
TEMPERATURES = (0.01, 0.1)
LAYERS = 3
MAX_TOKENS = 48
PROMPTS = {"query": "query: ", "document": "passage: "}


def folder(temperature: float) -> Path:
    """Where the adapter of a temperature lies."""
    return FOLDER / f"temperature_{temperature:g}"


def start(device: str = "cpu") -> SentenceTransformer:
    """What both were trained from: MiniLM's first three layers, mean pooling, unit vectors, E5's prefixes.

    It reads `MAX_TOKENS` tokens of a text, as in training.
    """
    modules: list[Any] = list(bundled.minilm(device))  # the encoder, mean pooling, normalisation
    bert = modules[0].model
    bert.encoder.layer = torch.nn.ModuleList(bert.encoder.layer[:LAYERS])
    bert.config.num_hidden_layers = LAYERS
    model = SentenceTransformer(modules=modules, device=device, prompts=dict(PROMPTS))
    model.max_seq_length = MAX_TOKENS
    models.mark(model, models.Weights("bundled", f"the first {LAYERS} layers of {bundled.MINILM}"))
    return model


def load(temperature: float, device: str = "cpu") -> SentenceTransformer:
    """The model trained at a temperature: a real model, small and weak, as `models.weights` says.

    Args:
        temperature: one of `TEMPERATURES`.
        device: where it runs.

    Raises:
        CourseError: nothing was trained at this temperature.
    """
    if temperature not in TEMPERATURES:
        known = ", ".join(map(str, TEMPERATURES))
        raise CourseError(f"No adapter was trained at temperature {temperature}; there are {known}.")
    model = start(device)
    with bundled.quiet():
        model.load_adapter(str(folder(temperature)))
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()  # adds it to the frozen weights, so that encoding costs nothing more
    model.eval()
    checksum = sha256(folder(temperature) / "adapter_model.safetensors")[:12]
    what = f"{LAYERS} layers of {bundled.MINILM}, adapter trained at temperature {temperature:g}, sha256 {checksum}"
    models.mark(model, models.Weights("bundled", what))
    return model
