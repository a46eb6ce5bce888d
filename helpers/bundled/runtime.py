"""Modules for a `SentenceTransformer` whose arithmetic is done elsewhere: another runtime, or scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import InputModule
from sklearn.pipeline import Pipeline


class RuntimeTransformer(InputModule):
    """The encoder of a Sentence Transformers pipeline, run by something else than PyTorch.

    Args:
        run: input arrays of shape (texts, tokens), by name, to hidden states (texts, tokens, width).
        source: the PyTorch encoder whose tokenizer and limits it keeps.
        precision: of its arithmetic, such as "float32" or "int8".
    """

    def __init__(
        self,
        run: Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]],
        source: Any,
        *,
        precision: str = "float32",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.precision = precision
        self.run = run
        self.source = [source]  # in a list, so that PyTorch doesn't count its parameters as ours

    @property
    def tokenizer(self) -> Any:  # type: ignore[override]
        """The source model's tokenizer."""
        return self.source[0].tokenizer

    @property
    def max_seq_length(self) -> int:
        """Where texts are cut, in tokens."""
        return int(self.source[0].max_seq_length)

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self.source[0].max_seq_length = value

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Texts to token ids and masks, as the source model does it."""
        return dict(self.source[0].preprocess(inputs, prompt=prompt, **kwargs))

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token ids to `token_embeddings` of shape (texts, tokens, width)."""
        states = self.run({name: tensor.numpy() for name, tensor in bert_inputs(features).items()})
        features["token_embeddings"] = torch.from_numpy(states)
        return features

    def get_embedding_dimension(self) -> int:
        """The width of the source model."""
        return int(self.source[0].get_embedding_dimension())

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not offered: this model is rebuilt from its source.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Rebuilt from its source model, never saved; see helpers.bundled.int8.")


def bert_inputs(features: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A BERT's three inputs in its order; a tokenizer that gives no types of token means type 0 throughout."""
    ids = features["input_ids"]
    types = features.get("token_type_ids")
    return {
        "input_ids": ids,
        "attention_mask": features["attention_mask"],
        "token_type_ids": torch.zeros_like(ids) if types is None else types,
    }


class Vectorizer(InputModule):
    """A fitted scikit-learn vectoriser as the only module of a Sentence Transformers pipeline."""

    def __init__(self, pipeline: Pipeline, dims: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pipeline = pipeline
        self.dims = dims

    @property
    def max_seq_length(self) -> None:
        """No limit."""

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Texts to their vectors, of shape (texts, dims)."""
        texts = [(prompt or "") + text for text in inputs]
        dense = self.pipeline.transform(texts).toarray().astype(np.float32)
        return {"sentence_embedding": torch.from_numpy(dense)}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Nothing left to do."""
        return features

    def get_embedding_dimension(self) -> int:
        """How many hashed words are told apart."""
        return self.dims

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not offered: this model is rebuilt from its recipe.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Rebuilt from its recipe, never saved; see helpers.bundled.tfidf.")


class LastHiddenState(torch.nn.Module):
    """BERT with three inputs and one output, as converters to other runtimes want it."""

    def __init__(self, bert: torch.nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        """(texts, tokens, width) of token ids (texts, tokens)."""
        return self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
