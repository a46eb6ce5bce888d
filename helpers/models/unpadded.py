"""BERT without padding: all tokens of a batch stand in one long row.

Linear layers treat each token alone, so the row suits them as it is; attention runs once for each length. On a CPU
the weights of the linear layers are copied once into oneDNN's own layout, which makes each product faster.
`encode` and the server decide what goes into a batch.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch.nn.functional import normalize, scaled_dot_product_attention
from transformers import BertModel

Floats = NDArray[np.float32]
Group = tuple[int, int, int]  # the first token, how many texts, tokens of each
Linear = Callable[[torch.Tensor], torch.Tensor]  # (tokens, width) to (tokens, other width)

ROWS = 1024  # for which oneDNN chooses the layout; any other number runs too


def runs_unpadded(model: SentenceTransformer) -> bool:
    """Whether `Unpadded` knows a model's inside: a plain BERT, mean or cls pooling, and at most `Normalize` after."""
    if len(model) < 2 or not isinstance(model[0], Transformer) or not isinstance(model[1], Pooling):
        return False
    bert, pooling = model[0].model, model[1]
    return (
        type(bert) is BertModel
        and not bert.config.is_decoder
        and pooling.pooling_mode in ("mean", "cls")
        and pooling.include_prompt
        and all(isinstance(module, Normalize) for module in list(model)[2:])
    )


class Unpadded:
    """A model for which `runs_unpadded` holds, ready to compute token ids without padding.

    Args:
        model: it may not change afterwards, since its weights may have been copied.
        pack: copy the weights into oneDNN's layout, where there is oneDNN: as much memory again, and the time of
            about a hundred tokens.
    """

    def __init__(self, model: SentenceTransformer, *, pack: bool = True) -> None:
        encoder: Any = model[0]
        self.model, self.pooling = model, model[1]
        self.fills = pack and model.device.type == "cpu"
        self.bert: Any = encoder.model
        self.linears: list[dict[str, Linear]] = [
            {
                name: packed(part) if pack else part
                for name, part in layer.named_modules()
                if isinstance(part, torch.nn.Linear)
            }
            for layer in self.bert.encoder.layer
        ]

    def __call__(self, rows: list[list[int]]) -> Floats:
        """(n, d): the vectors of n tokenized texts, the longest first, in one pass."""
        lengths = [len(row) for row in rows]
        groups: list[Group] = []
        start = 0
        for length, members in itertools.groupby(lengths):
            texts = sum(1 for _ in members)
            groups.append((start, texts, length))
            start += texts * length
        device = self.model.device
        filler = _filler(start) if self.fills else 0
        ids = torch.tensor([*itertools.chain.from_iterable(rows), *[0] * filler], device=device)
        places = torch.cat([*map(torch.arange, lengths), torch.zeros(filler, dtype=torch.int64)]).to(device)
        with torch.inference_mode():
            states = self._states(ids, places, groups)
            vectors = torch.cat([_pool(states[_tokens(group)].view(*group[1:], -1), self.pooling) for group in groups])
            if len(self.model) > 2:
                vectors = normalize(vectors, dim=1)
        return np.asarray(vectors[:, : self.model.truncate_dim].float().cpu().numpy())

    def _states(self, ids: torch.Tensor, places: torch.Tensor, groups: Sequence[Group]) -> torch.Tensor:
        """(tokens, width): BERT's last hidden states of all tokens of all texts, one text behind the other."""
        bert = self.bert
        states: torch.Tensor = bert.embeddings(input_ids=ids.unsqueeze(0), position_ids=places.unsqueeze(0)).squeeze(0)
        for layer, linear in zip(bert.encoder.layer, self.linears, strict=True):
            attention = layer.attention.self
            projected = [linear[f"attention.self.{name}"](states) for name in ("query", "key", "value")]
            mixed = torch.zeros_like(states)
            for group in groups:
                shape = (*group[1:], attention.num_attention_heads, attention.attention_head_size)
                query, key, value = (part[_tokens(group)].view(shape).transpose(1, 2) for part in projected)
                mixed[_tokens(group)] = (
                    scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2).flatten(0, 1)
                )
            states = layer.attention.output.LayerNorm(linear["attention.output.dense"](mixed) + states)
            wide = layer.intermediate.intermediate_act_fn(linear["intermediate.dense"](states))
            states = layer.output.LayerNorm(linear["output.dense"](wide) + states)
        return states


def _filler(tokens: int) -> int:
    """How many tokens are put behind so many, at most an eighth more; nothing reads what comes of them.

    oneDNN writes a program for each number of rows and keeps it for ever; so there are fewer numbers.
    """
    return -tokens % (1 << max(0, tokens.bit_length() - 4))


def packed(linear: torch.nn.Linear) -> Linear:
    """The same product with a copy of the weights in oneDNN's layout; the layer itself where there is no such thing.

    It is what `torch.compile` makes of a layer with frozen weights, by operations outside PyTorch's public API.
    """
    weight, bias, known = linear.weight.detach(), linear.bias.detach(), torch.ops.mkldnn
    if weight.device.type != "cpu" or not hasattr(known, "_linear_pointwise"):
        return linear
    if weight.dtype != torch.float32 and not (weight.dtype == torch.bfloat16 and known._is_mkldnn_bf16_supported()):
        return linear
    weight = known._reorder_linear_weight(weight, ROWS)

    def product(states: torch.Tensor) -> torch.Tensor:
        states_out: torch.Tensor = known._linear_pointwise(states, weight, bias, "none", [], "")
        return states_out

    return product


def _tokens(group: Group) -> slice:
    """Where a group's tokens lie in the packed row."""
    start, texts, length = group
    return slice(start, start + texts * length)


def _pool(states: torch.Tensor, pooling: Any) -> torch.Tensor:
    """(texts, length, width) to (texts, width)."""
    vectors: torch.Tensor = states[:, 0] if pooling.pooling_mode == "cls" else states.mean(dim=1, dtype=torch.float32)
    return vectors
