"""BERT, XLM-R and MPNet without padding: all tokens of a batch stand in one long row.

Linear layers treat each token alone, so the row suits them as it is; embeddings and attention, which know places, run
once for each length. On a CPU the weights of the linear layers are copied once into oneDNN's own layout, which makes
each product faster. `encode` and the server decide what goes into a batch.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention
from transformers import BertModel, MPNetModel, RobertaModel, XLMRobertaModel

from helpers.models.int8 import quantised

Floats = NDArray[np.float32]
Group = tuple[int, int, int]  # the first token, how many texts, tokens of each
Product = Callable[[torch.Tensor], torch.Tensor]  # (tokens, width) to (tokens, other width)

ROWS = 1024  # for which oneDNN chooses the layout; any other number runs too
KEPT_BYTES = 31 << 20  # glibc learns from blocks below 32 MiB
FAMILY = "a BERT, RoBERTa, XLM-R or MPNet with mean or cls pooling"
# Where a layer keeps its products; the rest has the same names in all of them.
BERTS = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
PRODUCTS = {
    BertModel: BERTS,
    RobertaModel: BERTS,
    XLMRobertaModel: BERTS,
    MPNetModel: ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
}


def runs_unpadded(model: SentenceTransformer) -> bool:
    """Whether `Unpadded` knows a model's inside: one of `FAMILY`, and at most `Normalize` after its pooling."""
    if len(model) < 2 or not isinstance(model[0], Transformer) or not isinstance(model[1], Pooling):
        return False
    encoder, pooling = model[0].model, model[1]
    return (
        type(encoder) in PRODUCTS
        and not getattr(encoder.config, "is_decoder", False)
        and pooling.pooling_mode in ("mean", "cls")
        and pooling.include_prompt
        and all(isinstance(module, Normalize) for module in list(model)[2:])
    )


@dataclass(frozen=True)
class Layer:
    """What an encoder's layer computes, one field a step; (tokens, width) in and out."""

    project: Callable[[torch.Tensor], Sequence[torch.Tensor]]  # to query, key and value
    mix: Product
    mixed_norm: Product
    widen: Product
    activate: Product
    narrow: Product
    norm: Product


class Unpadded:
    """A model for which `runs_unpadded` holds, ready to compute token ids without padding.

    Args:
        model: it may not change afterwards, since its weights may have been copied.
        pack: copy the weights into oneDNN's layout, where there is oneDNN: as much memory again, and the time of
            about a hundred tokens.
        int8: round weights and activations of the products to 8 bits (`int8`); vectors move.

    Raises:
        CourseError: int8 where there is none.
    """

    def __init__(self, model: SentenceTransformer, *, pack: bool = True, int8: bool = False) -> None:
        module: Any = model[0]
        self.model, self.pooling, self.encoder = model, model[1], module.model
        self.fills = (pack or int8) and model.device.type == "cpu"
        self.heads = int(self.encoder.config.num_attention_heads)
        # glibc gives freed memory back and takes it anew, page by page, a layer later: up to a quarter of the time.
        # Once it has freed a block of this size it keeps twice as much; the block itself is never touched.
        torch.empty(KEPT_BYTES, dtype=torch.uint8)
        make = quantised if int8 else packed if pack else None
        self.layers = [_layer(layer, _names(type(self.encoder)), make) for layer in self.encoder.encoder.layer]
        parts = [layer.get_submodule(n) for layer in self.encoder.encoder.layer for n in _names(type(self.encoder))]
        self.copied = [part for part in parts if int8 or (pack and packs(part))]

    def release(self) -> None:
        """Forget the model's own weights where copies compute; from then on only this runs the model.

        What is left of it is copied too: weights are read from a mapped file, which stays in memory while any is used.
        """
        for part in self.copied:
            part.weight = torch.nn.Parameter(part.weight.new_empty(0), requires_grad=False)
        if self.copied:
            for tensor in (*self.model.parameters(), *self.model.buffers()):
                tensor.data = tensor.data.clone()

    def __call__(self, rows: list[list[int]]) -> Floats:
        """(n, d): the vectors of n tokenized texts, those of a length together, in one pass."""
        groups: list[Group] = []
        start = 0
        for length, members in itertools.groupby(map(len, rows)):
            texts = sum(1 for _ in members)
            groups.append((start, texts, length))
            start += texts * length
        ids = torch.tensor([*itertools.chain.from_iterable(rows)], device=self.model.device)
        with torch.inference_mode():
            states = self._states(ids, groups)
            vectors = torch.cat([_pool(states[_tokens(group)].view(*group[1:], -1), self.pooling) for group in groups])
            if len(self.model) > 2:
                vectors = normalize(vectors, dim=1)
        return np.asarray(vectors[:, : self.model.truncate_dim].float().cpu().numpy())

    def _states(self, ids: torch.Tensor, groups: Sequence[Group]) -> torch.Tensor:
        """(tokens, width): the last hidden states of all tokens of all texts, one text behind the other."""
        embed = self.encoder.embeddings
        parts = [embed(input_ids=ids[_tokens(group)].view(group[1:])).flatten(0, 1) for group in groups]
        filler = _filler(len(ids)) if self.fills else 0
        states = torch.cat([*parts, parts[0].new_zeros(filler, parts[0].shape[1])])
        biases = [self._bias(states, length) for _, _, length in groups]
        for layer in self.layers:
            projected = layer.project(states)
            mixed = torch.empty_like(states)
            mixed[len(ids) :] = 0
            for group, bias in zip(groups, biases, strict=True):
                query, key, value = (
                    part[_tokens(group)].view(*group[1:], self.heads, -1).transpose(1, 2) for part in projected
                )
                found = scaled_dot_product_attention(query, key, value, attn_mask=bias)
                mixed[_tokens(group)] = found.transpose(1, 2).flatten(2).flatten(0, 1)
            states = layer.mixed_norm(layer.mix(mixed).add_(states))
            states = layer.norm(layer.narrow(layer.activate(layer.widen(states))).add_(states))
        return states

    def _bias(self, states: torch.Tensor, length: int) -> torch.Tensor | None:
        """(1, heads, length, length): what MPNet adds to a score for how far apart two tokens are; None elsewhere."""
        compute = getattr(self.encoder.encoder, "compute_position_bias", None)
        return compute(states.new_empty(1, length)) if compute else None


def _names(kind: type) -> tuple[str, ...]:
    """Where a layer of such an encoder keeps its products: query, key, value, mix, widen, narrow."""
    return (*PRODUCTS[kind], "intermediate.dense", "output.dense")


def _layer(layer: Any, names: tuple[str, ...], make: Callable[[torch.nn.Linear], Product] | None) -> Layer:
    """The steps of one of the encoder's layers, its products as `make` makes them."""
    parts = [layer.get_submodule(name) for name in names]
    mix, widen, narrow = (make(part) if make else part for part in parts[3:])
    mixed = layer.attention.output if hasattr(layer.attention, "output") else layer.attention
    norms = mixed.LayerNorm, layer.output.LayerNorm
    usual = layer.intermediate.intermediate_act_fn
    activate = torch.ops.aten.gelu_ if getattr(usual, "act", None) is gelu else usual  # in place: no new memory
    return Layer(_projection(parts[:3], make), mix, norms[0], widen, activate, narrow, norms[1])


def _projection(
    parts: Sequence[torch.nn.Linear], make: Callable[[torch.nn.Linear], Product] | None
) -> Callable[[torch.Tensor], Sequence[torch.Tensor]]:
    """Query, key and value; one product in int8, so that the states are rounded once."""
    if make is quantised:
        together = quantised(*parts)
        return lambda states: together(states).chunk(len(parts), dim=1)
    products = [make(part) if make else part for part in parts]
    return lambda states: [product(states) for product in products]


def _filler(tokens: int) -> int:
    """How many tokens are put behind so many, at most an eighth more; nothing reads what comes of them.

    oneDNN writes a program for each number of rows and keeps it for ever; so there are fewer numbers.
    """
    return -tokens % (1 << max(0, tokens.bit_length() - 4))


def packs(linear: torch.nn.Linear) -> bool:
    """Whether oneDNN has a layout of its own for a layer's weights: on a CPU, in float32 or what bfloat16 it has."""
    known, dtype = torch.ops.mkldnn, linear.weight.dtype
    if linear.weight.device.type != "cpu" or not hasattr(known, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(known._is_mkldnn_bf16_supported()))


def packed(linear: torch.nn.Linear) -> Product:
    """The same product with a copy of the weights in oneDNN's layout; the layer itself where there is no such thing.

    It is what `torch.compile` makes of a layer with frozen weights, by operations outside PyTorch's public API.
    """
    if not packs(linear):
        return linear
    known, bias = torch.ops.mkldnn, linear.bias.detach().clone()
    weight = known._reorder_linear_weight(linear.weight.detach(), ROWS)

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
