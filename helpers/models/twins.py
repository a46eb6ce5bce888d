"""Twins: a model's exact architecture with random weights, from the catalogue's numbers.

A twin has the parameters, the memory and the speed of the model it copies, and none of its
quality. Texts are cut up by MiniLM's tokenizer, so compare speeds by token, not by text. What
transformers has no native class for (nomic v2's experts, adapters) has no twin.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import PretrainedConfig

from helpers.bundled import minilm_folder, quiet
from helpers.catalog import FACTS, Card, card, cards
from helpers.errors import CourseError

POOLING = {"cls": "cls", "last_token": "lasttoken"}


@dataclass(frozen=True)
class Family:
    """How the catalogue names an architecture, and the configuration that transformers has for it."""

    prefix: str
    config: str
    settings: Callable[[Card], dict[str, Any]] = lambda card: {}


FAMILIES = (
    Family("BERT", "BertConfig", lambda c: {"max_position_embeddings": 512}),
    Family("MPNet", "MPNetConfig", lambda c: {"max_position_embeddings": 514}),
    Family(
        "XLM-RoBERTa",
        "XLMRobertaConfig",
        lambda c: {"max_position_embeddings": 8194 if c.max_tokens == 8192 else 514, "type_vocab_size": 1},
    ),
    Family("NomicBERT (RoPE", "NomicBertConfig"),
    Family("ModernBERT", "ModernBertConfig", lambda c: {"max_position_embeddings": c.max_tokens}),
    Family("EuroBERT", "EuroBertConfig"),
    Family("GTE", "GteConfig"),
    Family("Qwen2", "Qwen2Config"),
    Family("Qwen3 decoder", "Qwen3Config", lambda c: {"head_dim": 128}),
    Family("Mistral", "MistralConfig"),
    Family(
        "Gemma3 text",
        "Gemma3TextConfig",
        lambda c: {
            "head_dim": 256,
            "sliding_window": 512,
            "use_bidirectional_attention": "bidirectional" in (c.arch_family or ""),
        },
    ),
    Family("EmbeddingGemma2", "EmbeddingGemma2TextConfig"),
)
ADAPTERS = "task LoRA"


def config(name: str, layers: int | None = None) -> PretrainedConfig:
    """The transformers configuration of a model, from its catalogue row, or of its first few layers.

    Attention heads, where the catalogue doesn't know them, are the family's usual ones (64 wide,
    32 wide in MiniLM-sized BERTs); they change no parameter count.

    Raises:
        CourseError: the catalogue has no numbers for it, or transformers no class.
    """
    facts = card(name)
    family = next((f for f in FAMILIES if (facts.arch_family or "").startswith(f.prefix)), None)
    if not family or not facts.layers or not facts.hidden or ADAPTERS in (facts.arch_family or ""):
        raise CourseError(
            f"{facts.hub_id} has no twin: the catalogue has no full architecture for it, or transformers "
            f"no class ({facts.arch_family or 'architecture unknown'})."
        )
    numbers = {
        "num_hidden_layers": layers or facts.layers,
        "hidden_size": facts.hidden,
        "num_attention_heads": facts.heads or facts.hidden // (32 if facts.hidden == 384 else 64),
        "num_key_value_heads": facts.kv_heads,
        "intermediate_size": facts.intermediate,
        "vocab_size": facts.vocab,
        "pad_token_id": 0,
    } | family.settings(facts)
    known = {key: value for key, value in numbers.items() if value is not None}
    configuration: PretrainedConfig = getattr(transformers, family.config)(**known)
    return configuration


def twin(
    name: str,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    layers: int | None = None,
) -> SentenceTransformer:
    """The architecture of a catalogue model with random weights, ready to encode.

    Args:
        name: a catalogue name.
        device: "cpu", "cuda", "mps", or "meta": shapes without memory, for counting.
        dtype: of the weights.
        seed: of the weights.
        layers: how many of the model's layers; None is all of them.

    Raises:
        CourseError: there is no twin for this model.
    """
    facts, shape = card(name), config(name, layers)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), quiet(), torch.device(device):
        torch.manual_seed(seed)
        shape.save_pretrained(folder)
        encoder = RandomTransformer(
            folder,
            tokenizer_name_or_path=str(minilm_folder()),
            model_kwargs={"dtype": dtype},
            max_seq_length=facts.max_tokens,
        )
        hidden = facts.hidden or 0
        modules: list[torch.nn.Module] = [
            encoder,
            Pooling(hidden, pooling_mode=POOLING.get(facts.pooling or "", "mean")),
        ]
        if (facts.arch_family or "").endswith("2 dense layers"):
            for inside, outside in ((hidden, 4 * hidden), (4 * hidden, hidden)):
                modules.append(Dense(inside, outside, bias=False, activation_function=torch.nn.Identity()))
        if facts.outputs_normalized is not False:
            modules.append(Normalize())
        return SentenceTransformer(modules=modules, device=device, prompts=facts.prompts).to(dtype)


def measured() -> pd.DataFrame:
    """What was measured on twins before, by `benchmarks/twins.py`: one row a model, device and dtype.

    `tokens_per_s` is the median of three runs over texts of `tokens` tokens each, after a warm-up;
    `weights_mb` and `peak_mb` are MB (10^6 bytes); `hardware`, `threads` and `torch` say on what;
    `layers_run` is fewer than `layers` where the time was extrapolated from the model's first few.
    """
    return pd.concat([pd.read_csv(path) for path in sorted(FACTS.glob("measured_*.csv"))], ignore_index=True)


@cache
def speeds() -> tuple[dict[str, float], float]:
    """Tokens a second on one CPU thread in float32, by hub id, and the factor by which equal twins differ at most.

    Models of one shape are one program, whatever their weights and however large their vocabulary, so each has the
    median of those of its shape that were measured.
    """
    kept = measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id").tokens_per_s
    shapes = {facts.hub_id: _shape(facts) for facts in cards()}
    alike = kept.groupby(shapes)
    found = alike.median()
    return {n: float(found[s]) for n, s in shapes.items() if s in found.index}, float((alike.max() / alike.min()).max())


def _shape(facts: Card) -> str:
    """What decides a model's speed; empty for one that has no twin."""
    try:
        family = type(config(facts.hub_id)).__name__
    except CourseError:
        return ""
    return f"{family} {facts.layers} {facts.hidden} {facts.kv_heads} {facts.intermediate}"


def parameter_count(name: str) -> int:
    """How many parameters a model has, counted on its twin without allocating any."""
    return sum(parameter.numel() for parameter in twin(name, device="meta").parameters())


class RandomTransformer(Transformer):
    """Sentence Transformers' own encoder module, its weights drawn instead of read."""

    def _load_model(
        self,
        model_name_or_path: str | Path,
        transformer_task: str,
        config: PretrainedConfig,
        *args: Any,
        dtype: torch.dtype = torch.float32,
        **kwargs: Any,
    ) -> Any:
        return transformers.AutoModel.from_config(config, dtype=dtype)
