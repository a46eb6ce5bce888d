"""Other ways to run a model, for which a name asks behind an `@`: `all-MiniLM-L6-v2@openvino-int8`.

A way makes a Sentence Transformers model of another, so that whatever takes the one takes the other.
"""

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from helpers.bundled import quiet
from helpers.bundled.builders import quantised_onnx, run_onnx
from helpers.bundled.runtime import RuntimeTransformer
from helpers.errors import CourseError
from helpers.models.device import precision
from helpers.models.openvino import only_bert, to_openvino
from helpers.models.unpadded import FAMILY, Unpadded, runs_unpadded


def to_onnx_int8(model: SentenceTransformer) -> SentenceTransformer:
    """A BERT model run by ONNX Runtime on the CPU, its weights and activations in int8 (dynamic quantisation).

    Raises:
        CourseError: it is no BERT.
    """
    only_bert(model)
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.onnx"
        quantised_onnx(model, path)
        return run_onnx(path.read_bytes(), model)


def to_unpadded(model: SentenceTransformer, *, int8: bool = False) -> SentenceTransformer:
    """The model computed without padding; see `Unpadded`.

    Args:
        int8: products of 8-bit integers on a CPU (`int8`), which move vectors; otherwise they are unchanged.

    Raises:
        CourseError: it is none of `FAMILY`, or int8 can't be had.
    """
    if not runs_unpadded(model):
        raise CourseError(f"Only {FAMILY} runs unpadded, and this is none; run it as it is.")
    prompts = {name: text or "" for name, text in model.prompts.items()}
    computed = UnpaddedTransformer(model, int8=int8)
    return SentenceTransformer(modules=[computed], device=str(model.device), prompts=prompts)


class UnpaddedTransformer(RuntimeTransformer):
    """A whole pipeline in one module: token ids and masks in, vectors out; `encode` takes `unpadded` itself."""

    def __init__(self, model: SentenceTransformer, *, int8: bool = False) -> None:
        self.unpadded = Unpadded(model, int8=int8)
        run: Any = self.unpadded
        super().__init__(run, model[0], precision="int8" if int8 else precision(model))
        self.dims = int(model.get_embedding_dimension() or 0)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token ids to `sentence_embedding` of shape (texts, dims)."""
        masks = features["attention_mask"].bool()
        rows = [ids[mask].tolist() for ids, mask in zip(features["input_ids"], masks, strict=True)]
        longest_first = np.argsort([-len(row) for row in rows], kind="stable")
        vectors = self.unpadded([rows[i] for i in longest_first])[np.argsort(longest_first)]
        features["sentence_embedding"] = torch.from_numpy(vectors)
        return features

    def get_embedding_dimension(self) -> int:
        """Of the vectors."""
        return self.dims


def to_bfloat16(model: SentenceTransformer) -> SentenceTransformer:
    """The model computed in bfloat16, half the bytes a number; slow where the processor has no instructions for it.

    Raises:
        CourseError: it is none of `FAMILY`.
    """
    if not runs_unpadded(model):
        raise CourseError(f"Only {FAMILY} is run in bfloat16, and this is none; run it as it is.")
    return copy.deepcopy(model).to(torch.bfloat16)


WAYS: dict[str, Callable[[SentenceTransformer], SentenceTransformer]] = {
    "openvino": to_openvino,
    "openvino-int8": partial(to_openvino, int8=True),
    "onnx-int8": to_onnx_int8,
    "unpadded": to_unpadded,
    "unpadded-int8": partial(to_unpadded, int8=True),
    "bfloat16": to_bfloat16,
}
LOSSY = ("openvino-int8", "onnx-int8", "unpadded-int8", "bfloat16")  # their vectors aren't the model's within 1e-5
